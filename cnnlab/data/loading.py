"""From what a person names (a set, a folder, an archive, nothing) to a data set in memory."""

import hashlib
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnnlab.data import cache, cifar, idx
from cnnlab.data.archives import without_ending
from cnnlab.data.dataset import DataSet, OnProgress, Part, Progress, fingerprint, silent
from cnnlab.data.decoding import Assembled, fit
from cnnlab.data.digits import read_digits
from cnnlab.data.download import Unavailable, fetch
from cnnlab.data.duplicates import check_overlaps
from cnnlab.data.folders import content_digest, list_folder, read_folder
from cnnlab.data.layout import class_name, single_pictures
from cnnlab.data.packed_folders import read_packed_folder
from cnnlab.data.splitting import set_aside
from cnnlab.data.standard import DATASETS, STANDARD, Standard, data_folders, download_folder
from cnnlab.errors import DataError, MachineError, UsageError
from cnnlab.reading import open_file
from cnnlab.text import did_you_mean, nearest, printable

DEFAULT = "cifar10"
FALLBACK = "digits"


def load(
    name: str | None = None,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    offline: bool = False,
    skip_bad: bool = False,
    allow_duplicates: bool = False,
    on_progress: OnProgress = silent,
) -> DataSet:
    """Load a data set.

    Args:
        name: a name of `DATASETS`, a folder of pictures (train/CLASS/*), the CIFAR archive or its unpacked folder,
            an archive of such a folder; None: nothing was named, so CIFAR-10, or digits where it cannot be
            had and CNNLAB_NO_FALLBACK=1 does not forbid it.
        data_dir: where named sets are looked for first, and where downloads go.
        image_size: side length that every picture is brought to (centre square, Lanczos); None: they must agree.
        offline: ask no network.
        skip_bad: leave out pictures that cannot be read, and say so in the notices, instead of refusing.
        allow_duplicates: let a folder's pictures stand in two parts, and say so in the notices.
        on_progress: receives `Progress` while something long goes on.

    Raises:
        UsageError: an unknown name, a path that does not exist.
        DataError: data that are not what they should be.
        MachineError: a set that is neither on the disk nor to be had, a file that cannot be read.
    """
    try:
        if name is None:
            data = _default(data_dir, image_size, offline, on_progress)
        elif name in STANDARD:
            data = _named(STANDARD[name], data_dir, image_size, offline, on_progress)
        else:
            data = _at_path(_existing(name), image_size, skip_bad, on_progress)
    except OSError as error:
        raise MachineError(f"cannot read {printable(error.filename or name)}: {error.strerror}") from error
    strict = name is not None and name not in STANDARD and not allow_duplicates
    notices = [
        *data.notices,
        *check_overlaps(data.name, data.parts, refuse=strict),
        *single_pictures(Counter(data.classes[label] for label in data.train.labels.tolist())),
    ]
    return replace(data, requested=DEFAULT if name is None else printable(name), notices=tuple(notices))


def _default(data_dir: Path | None, image_size: int | None, offline: bool, on_progress: OnProgress) -> DataSet:
    """CIFAR-10, or digits where it can neither be found nor had and that is allowed."""
    try:
        return _named(STANDARD[DEFAULT], data_dir, image_size, offline, on_progress)
    except Unavailable as error:
        if os.environ.get("CNNLAB_NO_FALLBACK") == "1":
            raise
        data = _named(STANDARD[FALLBACK], data_dir, image_size, offline, on_progress)
        return replace(data, fallback=True, notices=(error.message, *data.notices))


def _existing(name: str) -> Path:
    try:
        path = Path(name).expanduser()
        if name and path.exists():
            return path
    except PermissionError:
        raise
    except (OSError, ValueError, RuntimeError):  # a name too long for a file, a NUL, the home of nobody
        pass
    if nearest(name, DATASETS) or not any(sign in name for sign in "/\\."):
        hint = f"{did_you_mean(name, DATASETS)}\nA folder or an archive is given by its path"
    else:
        hint = "Check the spelling and the current folder. Names: " + ", ".join(DATASETS)
    raise UsageError(f"no data set and no file is named {printable(name)!r}", hint=hint)


def _named(
    standard: Standard, data_dir: Path | None, image_size: int | None, offline: bool, on_progress: OnProgress
) -> DataSet:
    if standard.kind == "digits":
        return _finish(standard.name, standard.classes, {"train": read_digits()}, False, [], image_size, on_progress)
    found = _find(standard, data_folders(data_dir))
    if found is None:
        target = download_folder(data_dir) / standard.folders[0]
        for file in standard.files:
            fetch(standard.name, file, target, offline=offline, on_progress=on_progress)
        found = _find(standard, [download_folder(data_dir)])
        assert found is not None
    return _read(standard, found, image_size, on_progress, verify=True)


def _find(standard: Standard, folders: list[Path]) -> Path | None:
    """The archive, or the folder of batches or IDX files, of a set; None where it is in none of the folders."""
    for folder in folders:
        for place in (folder / below for below in standard.folders):
            if standard.kind == "idx":
                if idx.find_idx(place):
                    return place
                continue
            batches = place / cifar.BATCHES[standard.name].folder
            if cifar.batches_in(batches) == standard.name:
                return batches
            if (place / standard.files[0].name).is_file():
                return place / standard.files[0].name
    return None


def _read(standard: Standard, found: Path, image_size: int | None, on_progress: OnProgress, *, verify: bool) -> DataSet:
    """Read a set with a name from where it was found; with `verify`, an archive must be the published one."""

    def build() -> DataSet:
        if standard.kind == "idx":
            files = idx.find_idx(found)
            assert files is not None
            classes, (train, test) = standard.classes, idx.read_parts(files, len(standard.classes))
        else:
            read = cifar.read_batches if found.is_dir() else cifar.read_archive
            classes, train, test = read(found, standard.name, on_progress)
        notices = _count_notice(standard, (len(train), len(test)))
        parts = {"train": train, "test": test}
        return _finish(standard.name, classes, parts, standard.flip, notices, image_size, on_progress)

    if found.is_dir():
        return build()  # plain bytes: read as fast as a cache would be
    digest = _archive_digest(found)
    published = standard.files[0]
    if verify and digest != published.sha256:
        raise DataError(
            f"{printable(found)} is not the published {standard.name}: expected SHA-256 {published.sha256} "
            f"({published.size:,} bytes), received {digest} ({found.stat().st_size:,} bytes)",
            hint=f"Remove it, and it is downloaded again; or use it as it is: --data {printable(found)}",
        )
    return cache.cached(cache.key(standard.name, digest, image_size), build)


def _at_path(path: Path, image_size: int | None, skip_bad: bool, on_progress: OnProgress) -> DataSet:
    if path.is_dir():
        batches = cifar.batches_in(path)
        if batches:
            return _read(STANDARD[batches], path, image_size, on_progress, verify=False)
        return _folder(path, image_size, skip_bad, on_progress)
    batches = cifar.set_in_archive(path)
    if batches:
        return _read(STANDARD[batches], path, image_size, on_progress, verify=False)

    def build() -> DataSet:
        return _of_pictures(read_packed_folder(path, image_size, skip_bad, on_progress), on_progress)

    data = cache.cached(cache.key("packed folder", _archive_digest(path), image_size, skip_bad), build)
    return replace(data, name=class_name(without_ending(path)))


def _folder(path: Path, image_size: int | None, skip_bad: bool, on_progress: OnProgress) -> DataSet:
    listing = list_folder(path)
    digest = cache.digest_of(listing.key)
    if digest is None:
        digest = content_digest(listing, on_progress)
        cache.note_digest(listing.key, digest)

    def build() -> DataSet:
        return _of_pictures(read_folder(listing, digest, image_size, skip_bad, on_progress), on_progress)

    data = cache.cached(cache.key("folder", digest, image_size, skip_bad), build)
    return replace(data, name=class_name(path.resolve().name), notices=(*listing.layout.notices(), *data.notices))


def _of_pictures(found: Assembled, on_progress: OnProgress) -> DataSet:
    data = _finish("", found.classes, found.parts, True, found.notices, None, on_progress)
    return replace(data, skipped=found.skipped)


def _archive_digest(file: Path) -> str:
    """SHA-256 of an archive's bytes; taken again only when the file's times or size have changed."""
    looked_at = time.time_ns()
    listing = cache.listing_key([(file.name, file.stat())], looked_at)
    digest = cache.digest_of(listing)
    if digest is None:
        with open_file(file) as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        cache.note_digest(listing, digest)
    return digest


def _finish(
    name: str,
    classes: tuple[str, ...],
    parts: dict[str, Part],
    flip: bool,
    notices: list[str],
    image_size: int | None,
    on_progress: OnProgress,
) -> DataSet:
    """Resize if asked, set a test part aside where there is none, take the fingerprint.

    Raises:
        DataError: parts whose pictures differ in size; too few pictures to set a test part aside.
    """
    sizes = {part: pictures.images.shape[1:3] for part, pictures in parts.items()}
    if image_size is not None and set(sizes.values()) != {(image_size, image_size)}:
        parts = {part: _resized(pictures, image_size, on_progress) for part, pictures in parts.items()}
        notices = [*notices, f"pictures are resized to {image_size}×{image_size} (Lanczos)"]
    elif len(set(sizes.values())) > 1:
        listed = ", ".join(f"{width}×{height} in {part}" for part, (height, width) in sizes.items())
        raise DataError(
            f"{name} holds pictures of several sizes (width × height): {listed}; expected one",
            hint="Have them resized (centre square, Lanczos): --set data.image_size=32",
        )
    train, val, test = parts["train"], parts.get("val"), parts.get("test")
    if test is None:
        total = len(train)
        train, test = set_aside(train)
        if not len(test):
            raise DataError(
                "no test part can be set aside: no class has two pictures", hint="Add pictures, or give a test/ folder"
            )
        notices = [*notices, f"no test part: {len(test)} of {total} pictures are set aside, the same for every seed"]
    return DataSet(
        name, classes, train, val, test, flip, fingerprint(classes, train, val, test), notices=tuple(notices)
    )


def _resized(part: Part, size: int, on_progress: OnProgress) -> Part:
    images = np.empty((len(part), size, size, part.images.shape[3]), np.uint8)
    for index, image in enumerate(part.images):
        images[index] = fit(image, (size, size))
        if index % 1024 == 0:
            on_progress(Progress("resizing pictures", index, len(part), "images"))
    return Part(images, part.labels, part.names)


def _count_notice(standard: Standard, images: tuple[int, int]) -> list[str]:
    if images == standard.images:
        return []
    return [
        f"not the published {standard.name}: {images[0]:,} + {images[1]:,} pictures for train and test, expected "
        f"{standard.images[0]:,} + {standard.images[1]:,}"
    ]
