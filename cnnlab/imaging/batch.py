"""Many kernels on many pictures: which files are meant, what the outputs are called, and one failure stops no other."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnlab.errors import CnnlabError, MachineError, PictureError, UsageError
from cnnlab.imaging.applying import Filtered, FilterOptions, apply_kernel
from cnnlab.imaging.kernels import KERNELS, Kernel
from cnnlab.imaging.pictures import SUFFIXES, Picture, read_picture
from cnnlab.imaging.writing import encode, format_of, write_all
from cnnlab.text import did_you_mean, printable

SAMPLES = ("china", "flower")
"""The photographs that scikit-learn ships."""

DrawSheet = Callable[[Picture, Sequence[Filtered]], bytes]


@dataclass(frozen=True)
class Destination:
    """Where outputs go: beside each picture, or to `output`; over other files only with `force`.

    `output` is a folder where it is one already, ends with a slash, or has no ending; else a file for one output.
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
        return path if self.output.endswith(("/", "\\")) or not path.suffix or path.is_dir() else None


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
    """All outputs of a picture are written."""

    source: Path
    outputs: tuple[Written, ...]
    sheet: Path | None


@dataclass(frozen=True, eq=False)
class ImageFailed:
    """Nothing is written for this picture."""

    source: Path
    error: CnnlabError


Event = ImageStarted | ImageDone | ImageFailed


@dataclass(frozen=True)
class Sources:
    """The pictures that are meant; `skipped` in folders: outputs of earlier calls. `samples` have to be written."""

    paths: tuple[Path, ...]
    skipped: tuple[Path, ...] = ()
    samples: tuple[tuple[Path, bytes], ...] = ()


def find_sources(names: Sequence[str]) -> Sources:
    """The pictures that IMAGE … means: files, the pictures in a folder (not below it), `sample:china`.

    Raises:
        UsageError: an unknown sample. PictureError: a folder without pictures. MachineError: one that may not be read.
    """
    paths: list[Path] = []
    skipped: list[Path] = []
    samples: list[tuple[Path, bytes]] = []
    for name in names:
        path = Path(name)
        if name.startswith("sample:"):
            path, content = _sample(name.removeprefix("sample:"))
            samples.append((path, content))
            paths.append(path)
        elif path.is_dir():
            found, outputs = _pictures_in(path)
            paths += found
            skipped += outputs
        else:
            paths.append(path)
    return Sources(tuple(dict.fromkeys(paths)), tuple(skipped), tuple(dict.fromkeys(samples)))


def _pictures_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder by name, and those that look like outputs: NAME-KERNEL beside a picture NAME."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise MachineError(f"cannot read the folder {printable(folder)}: {error.strerror}") from error
    stems = {path.stem for path in files}
    endings = (*KERNELS, "custom", "sheet")

    def is_output(path: Path) -> bool:
        stem = path.stem
        head, dash, number = stem.rpartition("-")
        if dash and number.isdigit():
            stem = head
        return any(stem.endswith(f"-{ending}") and stem.removesuffix(f"-{ending}") in stems for ending in endings)

    outputs = [path for path in files if is_output(path)]
    pictures = [path for path in files if path not in outputs]
    if not pictures:
        raise PictureError(
            f"the folder {printable(folder)} holds no picture", hint="Expected files ending in " + ", ".join(SUFFIXES)
        )
    return pictures, outputs


def _sample(name: str) -> tuple[Path, bytes]:
    """A photograph of scikit-learn's, from its files, without importing it."""
    from importlib.util import find_spec

    if name not in SAMPLES:
        raise UsageError(f"there is no sample {printable(name)!r}", hint=did_you_mean(name, SAMPLES))
    package = find_spec("sklearn")
    for place in (package.submodule_search_locations or []) if package else []:
        photograph = Path(place) / "datasets" / "images" / f"{name}.jpg"
        if photograph.is_file():
            return Path(f"{name}.jpg"), photograph.read_bytes()
    raise MachineError(f"scikit-learn's photograph {name}.jpg is not on this machine", hint="pip install scikit-learn")


def filter_images(
    sources: Sources,
    kernels: Sequence[Kernel],
    options: FilterOptions,
    destination: Destination,
    draw_sheet: DrawSheet | None = None,
) -> Iterator[Event]:
    """Filter every picture with every kernel, and write what comes of it; for each picture all or nothing.

    Raises:
        UsageError: one `-o` file for several outputs, or one whose ending names no format. All else is an event.
    """
    file = destination.file
    if file is not None:
        format_of(file)
        if len(sources.paths) * len(kernels) > 1:
            raise UsageError(f"several outputs cannot all be the file {printable(file)}", hint="Give -o a folder")
    taken: set[Path] = set()
    write_all(dict(sources.samples), force=destination.force)
    for index, source in enumerate(sources.paths, 1):
        yield ImageStarted(source, index, len(sources.paths))
        try:
            yield _filter_one(source, kernels, options, destination, draw_sheet, taken)
        except CnnlabError as error:
            yield ImageFailed(source, error)


def _filter_one(
    source: Path,
    kernels: Sequence[Kernel],
    options: FilterOptions,
    destination: Destination,
    draw_sheet: DrawSheet | None,
    taken: set[Path],
) -> ImageDone:
    picture = read_picture(source)
    files: dict[Path, bytes] = {}
    outputs: list[Written] = []
    suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".png"
    folder = destination.folder or (destination.file or source).parent
    for kernel in kernels:
        started = time.perf_counter()
        filtered = apply_kernel(picture, kernel, options)
        path = destination.file or _free_name(folder, f"{source.stem}-{kernel.name}", suffix, taken)
        files[path] = encode(filtered.picture, path)
        outputs.append(Written(path, filtered, time.perf_counter() - started))
    sheet = None
    if draw_sheet:
        sheet = _free_name(folder, f"{source.stem}-sheet", ".png", taken)
        files[sheet] = draw_sheet(picture, [output.filtered for output in outputs])
    write_all(files, force=destination.force)
    return ImageDone(source, tuple(outputs), sheet)


def _free_name(folder: Path, stem: str, suffix: str, taken: set[Path]) -> Path:
    """The output's path; a name that this call has given already is numbered."""
    path, number = folder / f"{stem}{suffix}", 1
    while path in taken:
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    taken.add(path)
    return path
