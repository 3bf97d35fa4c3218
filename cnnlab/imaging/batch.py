"""Many kernels on many pictures: which files are meant, what the outputs are called, and one failure stops no other."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnlab.errors import CnnlabError, MachineError, PictureError, UsageError
from cnnlab.files import is_file, is_folder
from cnnlab.imaging.applying import Filtered, FilterOptions, apply_kernel
from cnnlab.imaging.kernels import KERNELS, Kernel
from cnnlab.imaging.pictures import SUFFIXES, Picture, is_clutter, read_picture
from cnnlab.imaging.writing import encode, format_of, write_all
from cnnlab.machine import file_of_package
from cnnlab.text import command_path, did_you_mean, printable

SAMPLES = ("china", "flower")
"""The photographs that scikit-learn ships."""

DrawSheet = Callable[[Picture, Sequence[Filtered]], bytes]


@dataclass(frozen=True)
class Destination:
    """Where outputs go: beside each picture, or to `output`; over other files only with `force`.

    `output` is a folder where it is one already, ends with a slash, or has no ending; else a file for one output,
    which names the sheet as well.
    """

    output: str | None = None
    force: bool = False

    @property
    def file(self) -> Path | None:
        """The one file that is meant, or None."""
        if self.output is None or self.folder is not None:
            return None
        return Path(self.output)

    @property
    def folder(self) -> Path | None:
        """The folder that is meant, or None."""
        if self.output is None:
            return None
        path = Path(self.output)
        return path if self.output.endswith(("/", "\\")) or not path.suffix or is_folder(path) else None


@dataclass(frozen=True, eq=False)
class Written:
    """An output on the disk, and how it came about. `seconds` includes encoding, not reading and writing."""

    path: Path
    filtered: Filtered
    seconds: float


@dataclass(frozen=True)
class ImageStarted:
    """Picture number `index` of `total`, from 1, is being read."""

    source: Path
    index: int
    total: int


@dataclass(frozen=True, eq=False)
class ImageDone:
    """All outputs of a picture are written; with `more_frames`, of the first page or frame of several."""

    source: Path
    outputs: tuple[Written, ...]
    sheet: Path | None
    more_frames: bool = False


@dataclass(frozen=True, eq=False)
class ImageFailed:
    """Nothing is written for this picture."""

    source: Path
    error: CnnlabError


Event = ImageStarted | ImageDone | ImageFailed


@dataclass(frozen=True)
class Sources:
    """The pictures that are meant; `samples` have to be written.

    Left out in folders: `skipped`, outputs of earlier calls, and `others`, files whose ending is no picture's.
    """

    paths: tuple[Path, ...]
    skipped: tuple[Path, ...] = ()
    samples: tuple[tuple[Path, bytes], ...] = ()
    others: tuple[Path, ...] = ()


def find_sources(names: Sequence[str], kernels: Sequence[Kernel] = ()) -> Sources:
    """The pictures that IMAGE … means: files, the pictures in a folder (not below it), `sample:china`.

    What is named like an output of a named kernel, or of one of `kernels`, is left out of folders.

    Raises:
        UsageError: an unknown sample. PictureError: a folder without pictures. MachineError: one that may not be read.
    """
    paths: list[Path] = []
    skipped: list[Path] = []
    others: list[Path] = []
    samples: list[tuple[Path, bytes]] = []
    for name in names:
        path = Path(name)
        if name.startswith("sample:"):
            path, content = _sample(name.removeprefix("sample:"))
            samples.append((path, content))
            paths.append(path)
        elif is_folder(path):
            found, outputs, rest = _pictures_in(path, [kernel.name for kernel in kernels])
            paths += found
            skipped += outputs
            others += rest
        else:
            paths.append(path)
    return Sources(tuple(dict.fromkeys(paths)), tuple(skipped), tuple(dict.fromkeys(samples)), tuple(others))


def _pictures_in(folder: Path, kernels: Sequence[str]) -> tuple[list[Path], list[Path], list[Path]]:
    """A folder's pictures by name, what looks like outputs (NAME-KERNEL beside a picture NAME), and other files."""
    try:
        there = sorted(path for path in folder.iterdir() if not is_clutter(path.name))
        files = [path for path in there if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError as error:
        raise MachineError(f"cannot read the folder {printable(folder)}: {error.strerror}") from error
    stems = {path.stem for path in files}
    endings = (*KERNELS, "custom", "sheet", *kernels)

    def is_output(path: Path) -> bool:
        stem = path.stem
        head, dash, number = stem.rpartition("-")
        if dash and number.isdigit():
            stem = head
        return any(stem.endswith(f"-{ending}") and stem.removesuffix(f"-{ending}") in stems for ending in endings)

    outputs = {path: None for path in files if is_output(path)}  # in their order
    pictures = [path for path in files if path not in outputs]
    if not pictures:
        raise PictureError(
            f"the folder {printable(folder)} holds no picture", hint="Expected files ending in " + ", ".join(SUFFIXES)
        )
    others = [path for path in there if path.suffix.lower() not in SUFFIXES and is_file(path)]
    return pictures, list(outputs), others


def _sample(name: str) -> tuple[Path, bytes]:
    """A photograph of scikit-learn's, from its files, without importing it."""
    if name not in SAMPLES:
        raise UsageError(f"there is no sample {printable(name)!r}", hint=did_you_mean(name, SAMPLES))
    photograph = file_of_package("sklearn", "datasets", "images", f"{name}.jpg")
    if photograph is None:
        raise MachineError(
            f"scikit-learn's photograph {name}.jpg is not on this machine", hint="pip install scikit-learn"
        )
    return Path(f"{name}.jpg"), photograph.read_bytes()


def filter_images(
    sources: Sources,
    kernels: Sequence[Kernel],
    options: FilterOptions,
    destination: Destination,
    draw_sheet: DrawSheet | None = None,
) -> Iterator[Event]:
    """Filter every picture with every kernel, and write what comes of it; for each picture all or nothing.

    Raises:
        UsageError: one `-o` file for several outputs, one whose ending names no format, or an output that would
            overwrite a picture still to be read. All else is an event.
    """
    file = destination.file
    if file is not None:
        if len(sources.paths) * len(kernels) > 1:
            raise UsageError(
                f"several outputs cannot all be the file {printable(file)}",
                hint=f"Give -o a folder: {command_path(f'{file}/')}",
            )
        format_of(file)
    targets = _name_targets(sources.paths, kernels, destination, sheet=draw_sheet is not None)
    if destination.force:
        _check_sources_stay(sources.paths, targets)
    write_all(dict(sources.samples), force=destination.force, otherwise="call from another folder")
    for index, (source, target) in enumerate(zip(sources.paths, targets, strict=True), 1):
        yield ImageStarted(source, index, len(sources.paths))
        try:
            yield _filter_one(source, kernels, options, target, draw_sheet, force=destination.force)
        except CnnlabError as error:
            yield ImageFailed(source, error)


@dataclass(frozen=True)
class _Target:
    """Where a picture's outputs go, one a kernel, and its sheet."""

    outputs: tuple[Path, ...]
    sheet: Path | None


def _filter_one(
    source: Path,
    kernels: Sequence[Kernel],
    options: FilterOptions,
    target: _Target,
    draw_sheet: DrawSheet | None,
    *,
    force: bool,
) -> ImageDone:
    picture = read_picture(source)
    files: dict[Path, bytes] = {}
    outputs: list[Written] = []
    for kernel, path in zip(kernels, target.outputs, strict=True):
        started = time.perf_counter()
        filtered = apply_kernel(picture, kernel, options)
        files[path] = encode(filtered.picture, path)
        outputs.append(Written(path, filtered, time.perf_counter() - started))
    if draw_sheet and target.sheet:
        files[target.sheet] = draw_sheet(picture, [output.filtered for output in outputs])
    write_all(files, force=force)
    return ImageDone(source, tuple(outputs), target.sheet, picture.more_frames)


def _name_targets(
    sources: Sequence[Path], kernels: Sequence[Kernel], destination: Destination, *, sheet: bool
) -> list[_Target]:
    """The names of all outputs, none of them given twice."""
    file = destination.file
    common = file.parent if file else destination.folder
    taken = {file} if file else set()
    targets = []
    for source in sources:
        suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".png"
        folder = common or source.parent
        outputs = [file or _free_name(folder, f"{source.stem}-{kernel.name}", suffix, taken) for kernel in kernels]
        page = _free_name(folder, f"{(file or source).stem}-sheet", ".png", taken) if sheet else None
        targets.append(_Target(tuple(outputs), page))
    return targets


def _check_sources_stay(sources: Sequence[Path], targets: Sequence[_Target]) -> None:
    """Refuse to overwrite a picture before it is read: what was filtered then would be an output, not the picture."""
    turn = {os.path.realpath(source): index for index, source in enumerate(sources)}
    for index, target in enumerate(targets):
        for path in (*target.outputs, *([target.sheet] if target.sheet else ())):
            if turn.get(os.path.realpath(path), -1) > index:
                raise UsageError(
                    f"{printable(path)} would be overwritten by an output of {printable(sources[index])} before it is "
                    "filtered itself",
                    hint="Leave it out, or use -o to write elsewhere",
                )


def _free_name(folder: Path, stem: str, suffix: str, taken: set[Path]) -> Path:
    """The output's path; a name that this call has given already is numbered."""
    path, number = folder / f"{stem}{suffix}", 1
    while path in taken:
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    taken.add(path)
    return path
