"""Pictures decoded in parallel, brought to one size, and laid into arrays."""

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnlab.data.dataset import OnProgress, Part, Progress
from cnnlab.data.layout import PARTS, check_classes, place
from cnnlab.errors import DataError, MachineError, PictureError
from cnnlab.imaging.headers import TooManyPixels
from cnnlab.imaging.pictures import read_rgb_or_gray
from cnnlab.machine import physical_memory, usable_cores
from cnnlab.reading import read_up_to
from cnnlab.text import counted, printable

MAX_FILE_BYTES = 256 << 20
"""Largest file of one picture that is read."""
MAX_PIXELS = 100_000_000
"""Largest picture of a data set."""

_CHUNK = 32
_AHEAD_BYTES = 256 << 20
"""Packed bytes that may wait for their decoding."""
_SHOWN = 100
"""Broken pictures that a refusal lists."""
_SHOWN_SKIPPED = 10
"""Broken pictures that a notice names; environment.json has all that were left out."""

Named = tuple[str, Path | bytes]
"""A picture's name relative to the top of the data, and its file or the file's bytes."""


@dataclass(frozen=True)
class Decoded:
    """One picture: its relative `name`, its pixels (H, W, C) uint8 or the `problem` with it, its file's SHA-256."""

    name: str
    image: np.ndarray | None
    problem: str
    digest: bytes


def decode(
    pictures: Iterable[Named], total: int | None, image_size: int | None, on_progress: OnProgress
) -> Iterator[Decoded]:
    """Decode pictures in threads, in order; only a few chunks ahead, so that memory stays bounded.

    With `image_size`, each picture is brought to that side length (see `fit`).

    Raises:
        MachineError: a file that may not be read; more pictures than the machine has memory for.
    """
    workers = min(8, usable_cores())
    chunks = _chunks(pictures)
    running: deque[tuple[int, Future[list[Decoded]]]] = deque()
    budget = _Budget(total)
    done = ahead = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        while True:
            while len(running) < 2 * workers and ahead < _AHEAD_BYTES and (chunk := next(chunks, None)):
                size = sum(len(source) for _, source in chunk if isinstance(source, bytes))
                running.append((size, pool.submit(_decode_chunk, chunk, image_size, budget)))
                ahead += size
            if not running:
                break
            size, future = running.popleft()
            finished = future.result()
            ahead -= size
            done += len(finished)
            on_progress(Progress("decoding pictures", done, total, "images"))
            yield from finished
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(pictures: Iterable[Named]) -> Iterator[list[Named]]:
    """The pictures by `_CHUNK`, or fewer where their packed bytes are many."""
    chunk: list[Named] = []
    waiting = 0
    for name, source in pictures:
        chunk.append((name, source))
        waiting += len(source) if isinstance(source, bytes) else 0
        if len(chunk) == _CHUNK or waiting > _AHEAD_BYTES // 8:
            yield chunk
            chunk, waiting = [], 0
    if chunk:
        yield chunk


class _Budget:
    """The memory of all decoded pictures together, counted by the threads as they go."""

    def __init__(self, total: int | None) -> None:
        self.total = total or 0
        self.held = self.done = 0
        self.memory = physical_memory()
        self.lock = threading.Lock()

    def add(self, nbytes: int) -> None:
        """Refuse early what would fill the memory: by estimate where the number of pictures is known."""
        with self.lock:
            self.held += nbytes
            self.done += 1
            # The first few say little about the rest; what they take themselves is counted at once.
            needed = self.held if self.done < _CHUNK else self.held * max(self.total, self.done) // self.done
        if self.memory is not None and needed > self.memory:
            raise MachineError(
                f"the decoded pictures need {needed / 2**30:,.1f} GiB or more; "
                f"this machine has {self.memory / 2**30:,.1f} GiB",
                hint="Have them made smaller: --set data.image_size=64",
            )


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture (h, w, C) uint8 as (H, W, C), `size` (H, W): its centre of these proportions, resized with Lanczos.

    The centre is cut at whole pixels, and nothing outside it is seen.
    """
    if image.shape[:2] == size:
        return image
    from PIL import Image

    height, width, channels = image.shape
    rows = max(1, min(height, width * size[0] // size[1]))
    columns = max(1, min(width, height * size[1] // size[0]))
    top, left = (height - rows) // 2, (width - columns) // 2
    centre = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    picture = Image.fromarray(centre[:, :, 0] if channels == 1 else centre)
    resized = picture.resize(size[::-1], Image.Resampling.LANCZOS)
    return np.asarray(resized).reshape(*size, channels)


@dataclass(frozen=True)
class Assembled:
    """Decoded pictures as parts; `skipped`: (name, problem) of those left out."""

    classes: tuple[str, ...]
    parts: dict[str, Part]
    notices: list[str]
    skipped: tuple[tuple[str, str], ...]


def assemble(where: str, pictures: list[Decoded], image_size: int | None, skip_bad: bool) -> Assembled:
    """Lay decoded pictures into arrays; `pictures` is emptied on the way, to save memory.

    Gray where all pictures are gray, RGB otherwise. Parts are ordered by class, then by name.

    Raises:
        DataError: broken pictures (unless `skip_bad`), sizes that differ, classes as in `check_classes`.
    """
    broken = sorted((picture for picture in pictures if picture.image is None), key=lambda found: found.name)
    notices = _broken(where, broken, len(pictures), skip_bad)
    pictures[:] = sorted((picture for picture in pictures if picture.image is not None), key=lambda found: found.name)
    per_class: dict[str, dict[str, int]] = {}
    for picture in [*pictures, *broken]:
        part, label = place(picture.name)
        of_part = per_class.setdefault(part, {})
        of_part[label] = of_part.get(label, 0) + (picture.image is not None)
    classes = check_classes(where, per_class)
    shape = _common_shape(where, pictures)
    if image_size is not None:
        notices.append(f"pictures are cut to their centre square and resized to {image_size}×{image_size} (Lanczos)")
    labels = {name: index for index, name in enumerate(classes)}
    members: dict[str, list[tuple[int, str, np.ndarray]]] = {part: [] for part in PARTS if part in per_class}
    for picture in pictures:
        part, label = place(picture.name)
        assert picture.image is not None
        members[part].append((labels[label], picture.name, picture.image))
    pictures.clear()
    parts = {part: _part(found, shape) for part, found in members.items()}
    return Assembled(classes, parts, notices, tuple((printable(found.name), found.problem) for found in broken))


def _part(members: list[tuple[int, str, np.ndarray]], shape: tuple[int, int, int]) -> Part:
    members.sort(key=lambda member: member[:2])
    labels = np.array([label for label, _, _ in members], np.int64)
    names = [printable(name) for _, name, _ in members]
    try:
        images = np.empty((len(members), *shape), np.uint8)
    except MemoryError:
        raise MachineError(
            f"{len(members)} pictures of {shape[1]}×{shape[0]} do not fit into the memory",
            hint="Use smaller ones: --set data.image_size=64",
        ) from None
    for index in range(len(members)):
        images[index] = members[index][2]  # gray spreads over three channels where others are RGB
        members[index] = (0, "", images[index])  # the single picture's memory is free again
    return Part(images, labels, names)


def _common_shape(where: str, pictures: list[Decoded]) -> tuple[int, int, int]:
    shapes = [picture.image.shape for picture in pictures if picture.image is not None]
    sizes = Counter((height, width) for height, width, _ in shapes)
    if len(sizes) > 1:
        listed = ", ".join(f"{width}×{height} ({count})" for (height, width), count in sizes.most_common(6))
        more = f" and {len(sizes) - 6} more sizes" if len(sizes) > 6 else ""
        raise DataError(
            f"{where} holds pictures of {len(sizes)} sizes (width × height): {listed}{more}; expected one",
            hint="Have them resized (centre square, Lanczos): --set data.image_size=32",
        )
    ((height, width),) = sizes
    return height, width, max(channels for _, _, channels in shapes)


def _broken(where: str, broken: list[Decoded], total: int, skip_bad: bool) -> list[str]:
    if not broken:
        return []
    if skip_bad:
        names = ", ".join(printable(picture.name) for picture in broken[:_SHOWN_SKIPPED])
        more = ", …" if len(broken) > _SHOWN_SKIPPED else ""
        return [f"skipped as unreadable: {counted(len(broken), 'picture')} ({names}{more})"]
    lines = [f"  {printable(picture.name)}: {picture.problem}" for picture in broken[:_SHOWN]]
    if len(broken) > _SHOWN:
        lines.append(f"  and {len(broken) - _SHOWN} more")
    raise DataError(
        f"{len(broken)} of {counted(total, 'picture')} in {where} cannot be read:\n" + "\n".join(lines),
        hint="Repair or remove them, or leave them out with --skip-bad",
    )


def _decode_chunk(chunk: list[Named], image_size: int | None, budget: _Budget) -> list[Decoded]:
    return [_decode_one(name, source, image_size, budget) for name, source in chunk]


def _decode_one(name: str, source: Path | bytes, image_size: int | None, budget: _Budget) -> Decoded:
    data = source if isinstance(source, bytes) else read_bounded(source)
    digest = hashlib.sha256(data).digest()
    try:
        image = _read(data, image_size)
    except PictureError as error:
        return Decoded(name, None, error.message, digest)
    budget.add(image.nbytes)
    return Decoded(name, image, "", digest)


def _read(data: bytes, image_size: int | None) -> np.ndarray:
    try:
        return _fitted(read_rgb_or_gray(data, max_pixels=_AT_ONCE_PIXELS), image_size)
    except TooManyPixels:
        with _one_large_picture:
            return _fitted(read_rgb_or_gray(data, max_pixels=MAX_PIXELS), image_size)


def _fitted(image: np.ndarray, image_size: int | None) -> np.ndarray:
    return image if image_size is None else fit(image, (image_size, image_size))


_AT_ONCE_PIXELS = 16_000_000
_one_large_picture = threading.Lock()
"""Larger ones are decoded one at a time: each takes hundreds of megabytes on its way to its size."""


def read_bounded(file: Path) -> bytes:
    """A picture file's bytes.

    Raises:
        DataError: more than `MAX_FILE_BYTES`.
        MachineError: the file may not be read.
    """
    try:
        data = read_up_to(file, MAX_FILE_BYTES)
    except OSError as error:
        raise MachineError(f"cannot read {printable(file)}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{printable(file)} is too large for a picture: at most {MAX_FILE_BYTES:,} bytes are read")
    return data
