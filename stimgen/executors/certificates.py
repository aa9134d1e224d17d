"""Certificates for connections between machines, so that nobody else can speak to workers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stimgen.errors import InputError, StimgenError

NEEDS = "Install the extra: pip install 'stimgen[cluster]'."

FILES = {"ca": "ca.pem", "certificate": "certificate.pem", "key": "key.pem"}
"""Names of the files by their keys in the section `tls` of a site file."""

VALID = timedelta(days=5 * 365)


def write_certificates(folder: Path) -> dict[str, Path]:
    """Write a certificate that scheduler, workers and driver share, and its key.

    The certificate is its own authority, as in `distributed.Security.temporary`. It is valid longer, and from
    an hour ago on, because the clocks of machines differ. Whoever can read the key can run programs on the
    cluster.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise StimgenError("Certificates need the Python package cryptography.", NEEDS) from None
    paths = {name: folder.absolute() / file for name, file in FILES.items()}
    if present := [path for path in paths.values() if os.path.lexists(path)]:
        raise InputError(
            f"{present[0]} is there already, and clusters may use it.", "Name another folder, or remove it."
        )
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stimgen")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, content in zip(paths.values(), (certificate, certificate, private), strict=True):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be written: {error.strerror}.", "Name another folder."
        ) from None
    return paths
