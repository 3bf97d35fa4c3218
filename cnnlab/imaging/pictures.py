"""Pictures read from strangers' files: known formats only, size checked before decoding, nothing lost in silence.

Pillow decodes; this module decides what may be decoded. It knows five formats by their first bytes, reads the header,
refuses too many pixels before any of them is decoded, and refuses what Pillow would cut to 8 bits without a word.
"""

import importlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from cnnlab.errors import MachineError, PictureError
from cnnlab.files import is_folder
from cnnlab.imaging.scans import MAX_SCANS, count_scans
from cnnlab.reading import NotAFile, open_file
from cnnlab.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 300_000_000
"""Largest picture read, in pixels: above the largest cameras of 2026, below what fills a laptop's memory."""

BOMB_PIXELS = 16_000_000
BOMB_PIXELS_PER_BYTE = 2_000
"""A picture beyond both is refused: so many pixels in so few bytes are a blank sheet at best, and a bomb or a wrong
header as a rule. Deflate, the densest in common use, packs 1,032 gray pixels into a byte."""

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".bmp": "BMP",
}
"""Endings of the files that are read and written, and the format that each means."""

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
# Without a handler of their own, Pillow's remarks on damaged files would reach the terminal beside our one message.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def is_clutter(name: str) -> bool:
    """Whether a file or folder is what systems leave behind (.DS_Store, ._x.png, …), to be passed over in silence."""
    return name.startswith(".") or name.lower() in _CLUTTER


class TooManyPixels(PictureError):
    """A picture larger than its reader was asked to read."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    `pixels` (H, W, 1 or 3): uint8, or uint16 for 16-bit gray. `alpha` (H, W) uint8, or None where the picture is
    opaque. `format` as in `SUFFIXES`. `icc_profile` describes `pixels`; None where there is none, or none that
    still fits them. `more_frames`: the file holds further pages (TIFF) or frames, which are not read.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "PNG"
    icc_profile: bytes | None = None
    more_frames: bool = False


def read_picture(path: Path) -> Picture:
    """Read a picture in its own depth, upright (EXIF rotation applied), with its alpha; the first frame of several.

    Palette and CMYK pictures become RGB; 1-bit ones 8-bit gray.

    Raises:
        PictureError: no such file, not one of the five formats, too many pixels, damaged, or of a kind that Pillow
            cannot read without loss (16-bit colour, 32-bit and floating-point TIFF).
        MachineError: the file may not be read.
    """
    with _decoded(path) as (image, format_name, more_frames):
        icc_profile = image.info.get("icc_profile")
        if image.mode.startswith("I;16"):
            return Picture(_sixteen_bit(image), None, format_name, icc_profile, more_frames)
        flat, alpha = _flat(image)
        kept = icc_profile if image.mode in ("L", "LA", "RGB", "RGBA", "P") else None
        return Picture(_as_array(flat), alpha, format_name, kept, more_frames)


def read_rgb_or_gray(
    source: Path | bytes, *, mode: Literal["L", "RGB"] | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read a picture for a data set: uint8 (H, W, 1) for gray, (H, W, 3) for colour, upright.

    `mode` asks for gray ("L", luma of ITU-R BT.601) or colour ("RGB"); None takes what the picture is. Palette and
    CMYK pictures become RGB; transparency is laid on white; 16-bit gray is scaled to 8 bits (v · 255 / 65535).

    Raises:
        PictureError, MachineError: as `read_picture`; more than `max_pixels`.
    """
    with _decoded(source, max_pixels) as (image, _, _):
        if image.mode.startswith("I;16"):
            gray = np.rint(_sixteen_bit(image) * (255 / 65535)).astype(np.uint8)  # (H, W, 1)
            return np.repeat(gray, 3, axis=2) if mode == "RGB" else gray
        flat, alpha = _flat(image)
        if alpha is not None:
            from PIL import Image

            white = Image.new(flat.mode, flat.size, "white")
            white.paste(flat, mask=Image.fromarray(alpha))
            flat = white
        return _as_array(flat if mode in (None, flat.mode) else flat.convert(mode))


def _flat(image: "Image") -> tuple["Image", np.ndarray | None]:
    """The picture as L or RGB without its alpha, and the alpha (H, W) uint8, or None where all is opaque."""
    gray = image.mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        mode = "L" if gray else "RGB"
        return image if image.mode == mode else image.convert(mode), None
    both = image.convert("LA" if gray else "RGBA")
    alpha = np.array(both.getchannel("A"))
    # Dropped, not composited: the colours stay as stored, and the alpha says how much they count.
    flat = both.getchannel("L") if gray else both.convert("RGB")
    return flat, None if alpha.min() == 255 else alpha


def _as_array(image: "Image") -> np.ndarray:
    pixels = np.array(image)  # (H, W) or (H, W, 3), a copy that outlives the file
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _sixteen_bit(image: Any) -> np.ndarray:
    pixels = np.array(image).astype(np.uint16, copy=False)[:, :, None]  # (H, W, 1)
    if image.format == "TIFF" and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return 65535 - pixels  # Pillow turns 8-bit gray of this kind round, but not 16-bit
    return pixels


@contextmanager
def _decoded(source: Path | bytes, max_pixels: int = MAX_PIXELS) -> Iterator[tuple["Image", str, bool]]:
    """The decoded, upright picture, its format's name and whether others follow, while the file is open."""
    name = "the picture" if isinstance(source, bytes) else printable(source)
    with _opened(source, name) as file:
        try:
            image, format_name = _header(file, max_pixels, name)
            _check_header(image, name)
            _scale_transparency(image)
            more_frames = getattr(image, "is_animated", False)  # of pages, too; Pillow turns copies into single ones
            image.load()
            upright = _upright(image)
        except (PictureError, MachineError):
            raise
        except MemoryError:
            raise MachineError(f"{name} does not fit into the memory", hint="Make the picture smaller first") from None
        except Exception as error:  # Pillow's plugins meet damaged bytes with any class of error
            if isinstance(error, OSError) and error.errno is not None:
                raise MachineError(f"cannot read {name}: {error.strerror}") from error
            raise PictureError(
                f"{name} is damaged or cut short: {printable(error) or type(error).__name__}",
                hint="Open it in an image viewer; copy or download it again",
            ) from error
        yield upright, format_name, more_frames


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        file = open_file(source)
    except NotAFile as error:
        raise PictureError(f"{name} is not a picture: {error.strerror}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise PictureError(f"no such file: {name}", hint="Check the spelling and the current folder") from None
    except IsADirectoryError:
        raise PictureError(f"{name} is a folder, expected a picture") from None
    except ValueError as error:  # a NUL in the name
        raise PictureError(f"no file can have the name {name}: {error}") from None
    except OSError as error:
        if is_folder(source):  # what Windows says about a folder is "permission denied"
            raise PictureError(f"{name} is a folder, expected a picture") from None
        raise MachineError(f"cannot read {name}: {error.strerror}") from error
    with file:
        yield file


def _header(file: IO[bytes], max_pixels: int, name: str) -> tuple[Any, str]:
    """Pillow's image with the header read and no pixel decoded.

    The format's own reader is called instead of `Image.open`, whose bomb check knows another limit, warns, and
    loads every plugin there is where the ending of the name misleads.
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
    return image, format_name


def _check_scans(file: IO[bytes], name: str) -> None:
    place = file.tell()
    file.seek(0)
    scans = count_scans(file.read())
    file.seek(place)
    if scans > MAX_SCANS:
        raise PictureError(
            f"{name} has more than {MAX_SCANS} scans: it is damaged, or made to take time",
            hint="Save it again in an image editor",
        )


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
    if width * height > max(BOMB_PIXELS, stored * BOMB_PIXELS_PER_BYTE):
        raise PictureError(
            f"{name} declares {width:,}×{height:,} pixels in {stored:,} bytes: it is cut short, or made to fill memory",
            hint="Copy or download it again; or save it again, smaller, in an image editor",
        )


def _check_header(image: Any, name: str) -> None:
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


def _upright(image: "Image") -> "Image":
    """The picture turned as its EXIF orientation says; unreadable EXIF turns nothing."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001  # EXIF is a TIFF of its own, damaged as often as the picture
        return image
    if orientation not in range(2, 9):
        return image
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)
