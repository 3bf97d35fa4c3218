"""Pictures read from strangers' files: known formats only, size checked before decoding, nothing lost in silence.

Pillow decodes what `headers` lets through; this module brings it upright, to gray or RGB, its alpha beside it.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from cnnlab.errors import MachineError, PictureError
from cnnlab.files import is_folder
from cnnlab.imaging.headers import read_header
from cnnlab.reading import NotAFile, open_file
from cnnlab.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 300_000_000
"""Largest picture read, in pixels: above the largest cameras of 2026, below what fills a laptop's memory."""

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

_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def is_clutter(name: str) -> bool:
    """Whether a file or folder is what systems leave behind (.DS_Store, ._x.png, …), to be passed over in silence."""
    return name.startswith(".") or name.lower() in _CLUTTER


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
            image, format_name = read_header(file, max_pixels, name)
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
