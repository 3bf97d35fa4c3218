"""Pictures written: the format that the name says, nothing lost, nothing overwritten unasked, nothing half-written."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.errors import MachineError, UsageError
from cnnlab.files import sync_folder, temporary_beside, write_and_flush, writing
from cnnlab.imaging.pictures import SUFFIXES, Picture
from cnnlab.text import printable

_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "TIFF": {"compression": "tiff_deflate"},
    "WebP": {"lossless": True},
    "BMP": {},
}
_LONGEST_SIDE = {"JPEG": 65_500, "WebP": 16_383}


def encode(picture: Picture, path: Path) -> bytes:
    """The picture as a file's bytes, in the format that the ending of `path` means; the same bytes every time.

    Raises:
        UsageError: an ending that is none of the five formats, or a format that cannot hold the picture.
    """
    from PIL import Image

    format_name = format_of(path)
    pixels, alpha = picture.pixels, picture.alpha
    name = printable(path.name)
    deep = pixels.dtype == np.uint16
    if deep and format_name not in ("PNG", "TIFF"):
        raise UsageError(f"{format_name} cannot hold 16-bit gray: {name}", hint="Write PNG or TIFF")
    if alpha is not None and format_name == "JPEG":
        raise UsageError(f"JPEG cannot hold transparency: {name}", hint="Write PNG, TIFF or WebP")
    if max(pixels.shape[:2]) > _LONGEST_SIDE.get(format_name, 2**31):
        raise UsageError(
            f"{format_name} holds sides of {_LONGEST_SIDE[format_name]:,} pixels at most: {name}", hint="Write PNG"
        )
    if alpha is not None and pixels.shape[2] == 1 and format_name in ("WebP", "BMP"):
        pixels = np.repeat(pixels, 3, axis=2)  # neither knows gray with alpha
    planes = pixels if alpha is None else np.dstack([pixels, alpha])
    image = Image.fromarray(planes[:, :, 0] if planes.shape[2] == 1 else planes)
    if deep and image.mode != "I;16":
        image = Image.fromarray(planes[:, :, 0].astype("<u2"))
    options = dict(_OPTIONS[format_name])
    if picture.icc_profile and format_name != "BMP":
        options["icc_profile"] = picture.icc_profile
    buffer = _Named()
    buffer.name = f"picture{path.suffix.lower()}"
    image.save(buffer, **options)
    return buffer.getvalue()


class _Named(io.BytesIO):
    """Bytes with a name, by whose ending Pillow imports the one writer that is needed, and not six."""

    name = ""


def format_of(path: Path) -> str:
    """The format that a name's ending means.

    Raises:
        UsageError: none of the five.
    """
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"the ending of {printable(path.name)} names no format that cnnlab writes",
            hint="End the name in " + ", ".join(SUFFIXES),
        ) from None


_ELSEWHERE = "give -o a file or folder that is not there yet"


def write_all(files: Mapping[Path, bytes], *, force: bool, otherwise: str = _ELSEWHERE) -> None:
    """Write all files or, where one of them may not be overwritten or written, none; the same again is left alone.

    All are on the disk under temporary names before the first gets its own.

    Args:
        otherwise: the way out besides `force`, for the hint.

    Raises:
        UsageError: another file has the name, and `force` is not given.
        MachineError: the disk, a permission, a path below a file, a folder of that name.
    """
    missing = {path: content for path, content in files.items() if not _is_written(path, content, force, otherwise)}
    folders = {path.parent for path in missing}
    for folder in folders:
        _make_folder(folder)
    begun = {path: temporary_beside(path) for path in missing}
    try:
        for path, content in missing.items():
            with writing(path):
                write_and_flush(begun[path], content)
        for path, temporary in begun.items():
            with writing(path):
                temporary.replace(path)
    except BaseException:
        for temporary in begun.values():
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink()
        raise
    for folder in folders:
        with writing(folder):
            sync_folder(folder)


def _is_written(path: Path, content: bytes, force: bool, otherwise: str) -> bool:
    """Whether the file is there with that content."""
    with writing(path):
        if not path.exists():
            return False
        if path.is_dir():
            raise MachineError(
                f"cannot write {printable(path)}: it is a folder", hint="Rename it, or use -o to write elsewhere"
            )
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return True
    if not force:
        raise UsageError(
            f"{printable(path)} is there already, and is another picture",
            hint=f"Use --force to overwrite it, or {otherwise}",
        )
    return False


def _make_folder(folder: Path) -> None:
    with writing(folder):
        for place in (folder, *folder.parents):
            if place.exists() and not place.is_dir():
                raise MachineError(
                    f"cannot write into {printable(folder)}: {printable(place)} is a file, not a folder",
                    hint="Give -o another place",
                )
        folder.mkdir(parents=True, exist_ok=True)
