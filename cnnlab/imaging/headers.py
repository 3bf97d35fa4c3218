"""What may be decoded, told from a picture's header: the format, its size, its depth, and of a JPEG its scans.

Five formats are known by their first bytes. Too many pixels are refused before any of them is decoded, and so is what
Pillow would cut to 8 bits without a word.
"""

import importlib
import io
import logging
import re
from typing import IO, Any

import numpy as np

from cnnlab.errors import PictureError
from cnnlab.text import printable

_BOMB_PIXELS = 16_000_000
_BOMB_PIXELS_PER_BYTE = 2_000
"""A picture beyond both is refused: so many pixels in so few bytes are a blank sheet at best, and a bomb or a wrong
header as a rule. Deflate, the densest in common use, packs 1,032 gray pixels into a byte."""

_MAX_SCANS = 100
"""Encoders write up to some thirty; a thousand of fourteen bytes each keep a decoder busy for ten seconds."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # stuffed bytes and restarts are part of a scan
_START_OF_SCAN, _END = 0xDA, 0xD9

_FORMATS = "PNG, JPEG, TIFF, WebP or BMP"
_FOREIGN = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"8BPS": "a Photoshop file",
    b"\0\0\1\0": "an icon",
    b"PK\3\4": "a zip archive",
    b"<svg": "an SVG",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
"""What else lies behind the ending of a picture, by its first bytes."""
_DEEP_MODES = {"F": "32-bit floating point pixels", "I": "32-bit integer pixels"}
"""By Pillow's mode."""
_TIFF_BITS = 258

# Without a handler of their own, Pillow's remarks on damaged files would reach the terminal beside our one message.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class TooManyPixels(PictureError):
    """A picture larger than its reader was asked to read."""


def read_header(file: IO[bytes], max_pixels: int, name: str) -> tuple[Any, str]:
    """Pillow's image with the header read and no pixel decoded, fit to be decoded; and its format's name.

    The format's own reader is called instead of `Image.open`, whose bomb check knows another limit, warns, and
    loads every plugin there is where the ending of the name misleads.

    Raises:
        PictureError: not one of the five formats, too many pixels or scans, or deeper than Pillow reads without loss.
        Exception: of any class, from Pillow's reader, where the header is damaged.
    """
    start = file.read(30)
    stored = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not start:
        raise PictureError(f"{name} is empty, expected a picture ({_FORMATS})")
    format_name, module, reader = _reader_of(start)
    if not reader:
        raise PictureError(
            f"{name} is not a picture of a known format: expected {_FORMATS}, received {_foreign(start)}",
            hint="Save it as PNG in an image editor first",
        )
    if format_name == "WebP":  # its reader makes room for two whole pictures at once
        _check_size(_webp_size(start), stored, max_pixels, name)
    image = getattr(importlib.import_module(f"PIL.{module}"), reader)(file)
    _check_size(image.size, stored, max_pixels, name)
    if format_name == "JPEG":  # a baseline one may have scans without end, too
        _check_scans(file, name)
    _check_depth(image, name)
    _scale_transparency(image)
    return image, format_name


def _check_scans(file: IO[bytes], name: str) -> None:
    place = file.tell()
    file.seek(0)
    scans = _count_scans(file.read())
    file.seek(place)
    if scans > _MAX_SCANS:
        raise PictureError(
            f"{name} has more than {_MAX_SCANS} scans: it is damaged, or made to take time",
            hint="Save it again in an image editor",
        )


def _count_scans(content: bytes) -> int:
    """The scans of the JPEG that `content` begins with, at most `_MAX_SCANS` + 1; what follows its end is not read."""
    scans, place = 0, 2
    while scans <= _MAX_SCANS and (found := _MARKER.search(content, place)) is not None:
        kind, start = content[found.start() + 1], found.end()
        if kind == _END:
            break
        scans += kind == _START_OF_SCAN
        place = start + max(2, int.from_bytes(content[start : start + 2], "big"))
    return scans


def _webp_size(start: bytes) -> tuple[int, int]:
    """(width, height) from the first 30 bytes of a WebP file (RFC 9649, sections 2.5 to 2.7)."""
    kind = start[12:16]
    if kind == b"VP8X":
        return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(start[26:28], "little") & 0x3FFF, int.from_bytes(start[28:30], "little") & 0x3FFF


def _reader_of(start: bytes) -> tuple[str, str, str]:
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG", "PngImagePlugin", "PngImageFile"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG", "JpegImagePlugin", "JpegImageFile"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF", "TiffImagePlugin", "TiffImageFile"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP", "WebPImagePlugin", "WebPImageFile"
    # "BM" alone is too little: text may begin with it. The header's size says which BMP it is.
    if start[:2] == b"BM" and len(start) >= 16 and start[14] in (12, 40, 52, 56, 64, 108, 124) and not start[15]:
        return "BMP", "BmpImagePlugin", "BmpImageFile"
    return "", "", ""


def _foreign(start: bytes) -> str:
    """What a file is that is no picture of ours, by its first bytes, or how it begins."""
    if start[4:8] == b"ftyp":
        return "a HEIC, an AVIF or a video"
    for signature, name in _FOREIGN.items():
        if start.startswith(signature):
            return name
    return f"a file that starts with '{printable(start[:8].decode('latin-1'))}'"


def _check_size(size: tuple[int, int], stored: int, max_pixels: int, name: str) -> None:
    """Refuse more than `max_pixels`, and very many in a file of few (`stored`) bytes, before one is decoded."""
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{name} declares {width:,}×{height:,} pixels: at most {max_pixels:,} pixels are read",
            hint="Cut or scale it down first",
        )
    if width * height > max(_BOMB_PIXELS, stored * _BOMB_PIXELS_PER_BYTE):
        raise PictureError(
            f"{name} declares {width:,}×{height:,} pixels in {stored:,} bytes: it is cut short, or made to fill memory",
            hint="Copy or download it again; or save it again, smaller, in an image editor",
        )


def _check_depth(image: Any, name: str) -> None:
    """Refuse what Pillow would open as 8-bit colour though it is deeper."""
    gray16 = image.mode.startswith("I;16")
    if gray16 and "transparency" in image.info:
        raise _lossy(name, "16-bit gray with a transparent level")
    if not gray16 and image.mode not in (
        "1",
        "L",
        "LA",
        "La",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBa",
        "RGBX",
        "CMYK",
        "YCbCr",
    ):
        raise _lossy(name, _DEEP_MODES.get(image.mode, f"{image.mode} pixels"))
    if gray16 and _bits(image) != 16:  # Pillow leaves the levels of 12 bits as they are: almost black
        raise _lossy(name, f"gray of {_bits(image)} bits")
    if not gray16 and _bits(image) > 8:
        raise _lossy(name, f"{_bits(image)} bits a channel")


def _scale_transparency(image: Any) -> None:
    """Bring a PNG's transparent level to the scale of its gray levels: Pillow stretches those of 2 and 4 bits alone."""
    level = image.info.get("transparency")
    if image.format == "PNG" and isinstance(level, int) and image.tile:
        image.info["transparency"] = level * {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)


def _bits(image: Any) -> int:
    """Bits a channel as the header has them; Pillow's mode forgets them for colour."""
    if image.format == "TIFF":
        return max(np.atleast_1d(image.tag_v2.get(_TIFF_BITS, 8)).tolist())
    return 16 if image.format == "PNG" and any(";16" in str(tile.args) for tile in image.tile) else 8


def _lossy(name: str, received: str) -> PictureError:
    return PictureError(
        f"{name} cannot be read without loss: expected 8 bits a channel, or 16-bit gray; received {received}",
        hint="Save it with 8 bits a channel first",
    )
