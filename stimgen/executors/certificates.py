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
    """Write a certificate that scheduler, workers and driver share, and that of the authority that signed it.

    The authority's own key is not kept, so that nothing else can be signed with it. Whoever can read the key
    of the shared certificate can run programs on the cluster: only its owner may.

    Parameters
    ----------
    folder
        Made if it is not there.

    Returns
    -------
    dict
        Paths by the keys of the section `tls` of a site file.

    Raises
    ------
    InputError
        If one of the files is there.
    StimgenError
        If the package `cryptography` is missing.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise StimgenError("Certificates need the Python package cryptography.", NEEDS) from None
    paths = {name: folder.absolute() / file for name, file in FILES.items()}
    there = [path for path in paths.values() if os.path.lexists(path)]
    if there:
        raise InputError(
            f"{there[0]} is there already, and clusters may use it.", "Name another folder, or remove it."
        )
    now = datetime.now(UTC)

    def certificate(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        def called(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        is_authority = name == issuer
        return (
            x509.CertificateBuilder()
            .subject_name(called(name))
            .issuer_name(called(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))  # clocks of the machines differ
            .not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )

    authority, shared = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    contents = {
        "ca": certificate("stimgen authority", authority, "stimgen authority", authority).public_bytes(pem),
        "certificate": certificate("stimgen", shared, "stimgen authority", authority).public_bytes(pem),
        "key": shared.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, path in paths.items():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(contents[name])
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be written: {error.strerror}.", "Name another folder."
        ) from None
    return paths
