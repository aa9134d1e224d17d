"""PNG files made by hand, of kinds that Pillow cannot write."""

from __future__ import annotations

import struct
import zlib

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


def png_bytes(samples, colour_type, bits, *, extra=b"", interlaced=False, paeth=False, level=6):
    """A PNG file of (H, W) or (H, W, C) unsigned samples; bits 1, 2, 4 only for one channel."""
    height, width = samples.shape[:2]
    passes = [samples]
    if interlaced:
        steps = [
            (0, 0, 8, 8),
            (0, 4, 8, 8),
            (4, 0, 8, 4),
            (0, 2, 4, 4),
            (2, 0, 4, 2),
            (0, 1, 2, 2),
            (1, 0, 2, 1),
        ]
        passes = [samples[y::dy, x::dx] for y, x, dy, dx in steps]
    rows = b"".join(_row_bytes(part, bits, paeth) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows, level))
        + chunk(b"IEND", b"")
    )


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunks(file):
    """Return the names of the chunks of a PNG file."""
    names, place = [], 8
    while place < len(file):
        names.append(file[place + 4 : place + 8])
        place += 12 + int.from_bytes(file[place : place + 4], "big")
    return names


def _row_bytes(samples, bits, paeth):
    lines = [_packed(row, bits) for row in samples]
    if not paeth:
        return b"".join(b"\0" + line for line in lines)
    step = samples[0, 0].size * bits // 8
    above, out = bytes(len(lines[0])), b""
    for line in lines:
        out += b"\4" + bytes(
            (
                value
                - _predicted(
                    line[i - step] if i >= step else 0, above[i], above[i - step] if i >= step else 0
                )
            )
            % 256
            for i, value in enumerate(line)
        )
        above = line
    return out


def _predicted(left, above, corner):
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))


def _packed(row, bits):
    if bits == 16:
        return row.astype(">u2").tobytes()
    if bits == 8:
        return row.astype(np.uint8).tobytes()
    digits = "".join(format(int(value), f"0{bits}b") for value in row)
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))
