"""PBM, PGM and PPM files, decoded by netpbmfile, which keeps 16 bits and the value of white."""

from __future__ import annotations

import io

from stimgen.images.pixels import ImageError, Samples, check_size

MOST_TEXT_BYTES = 2**26
"""Largest file with its samples as text that is read; splitting it takes many times its size in memory."""


def decode_netpbm(data: bytes, origin: str) -> Samples:
    """Return the samples of a bitmap (1 is black), or of a grey or RGB image of up to 16 bits.

    A file states the value of white. If that is not 2^b − 1, the samples are floats 0..1.
    """
    from netpbmfile import NetpbmFile

    if data[1:2] in b"123" and len(data) > MOST_TEXT_BYTES:
        raise ImageError(f"{origin} has more than {MOST_TEXT_BYTES} bytes of text.", "Save it as PNG.")
    with NetpbmFile(io.BytesIO(data)) as file:
        check_size(file.width, file.height, max(file.frames, 1), origin)
        values, white = file.asarray(), file.maxval
    if file.magicnumber in ("P1", "P4"):
        return Samples(~values, 1)
    if int(values.max()) > white:
        raise ImageError(
            f"{origin} has samples up to {values.max()}, and states that white is {white}.", "Copy it again."
        )
    bits = white.bit_length()
    if white == 2**bits - 1:
        return Samples(values.astype(values.dtype.newbyteorder("=")), bits)
    return Samples(values / white, None)
