"""A folder of pictures on the disk: found, keyed by its content, decoded."""

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cnnlab.data.cache import listing_key
from cnnlab.data.dataset import OnProgress, Progress
from cnnlab.data.decoding import Assembled, assemble, decode, read_bounded
from cnnlab.data.layout import PARTS, Layout
from cnnlab.errors import DataError, MachineError
from cnnlab.files import is_file
from cnnlab.imaging.pictures import is_clutter
from cnnlab.machine import usable_cores
from cnnlab.text import printable


@dataclass(frozen=True)
class FolderListing:
    """The pictures of a folder: `files` (paths) by relative name, the `layout`, and a key of names, sizes and times.

    `key` is None where a file is so new that its times prove nothing.
    """

    root: Path
    files: dict[str, str]
    layout: Layout
    key: str | None


def list_folder(root: Path) -> FolderListing:
    """Find the pictures of `root/train/CLASS`, `val`, `test`, at any depth below the class.

    Links to folders, and links to files outside `root`, are not followed.

    Raises:
        DataError: no pictures, or classes as in `check_classes`.
        MachineError: a folder that may not be listed.
    """
    looked_at = time.time_ns()
    inside = root.resolve()
    layout, files, found = Layout(), {}, []
    try:
        for entry, steps in _walk(root, layout):
            name = "/".join(steps)
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(inside):
                layout.links.append(name)
            elif layout.add_file(steps):
                files[name] = entry.path
                found.append((name, entry.stat()))
    except OSError as error:
        raise MachineError(f"cannot list {printable(error.filename or root)}: {error.strerror}") from error
    layout.check(printable(root))
    return FolderListing(root, files, layout, listing_key(found, looked_at))


def content_digest(listing: FolderListing, on_progress: OnProgress) -> str:
    """SHA-256 over the names and the bytes of all files."""
    names = sorted(listing.files)
    digests = {}
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        hashed = pool.map(lambda name: hashlib.sha256(read_bounded(Path(listing.files[name]))).digest(), names)
        for index, (name, digest) in enumerate(zip(names, hashed, strict=True)):
            digests[name] = digest
            if index % 512 == 0:
                on_progress(Progress("checking pictures", index, len(names), "images"))
    return _combined(digests)


def read_folder(
    listing: FolderListing, digest: str, image_size: int | None, skip_bad: bool, on_progress: OnProgress
) -> Assembled:
    """Decode the pictures.

    Raises:
        DataError: as `assemble`; or files that changed since `digest` was taken.
    """
    named = ((name, Path(listing.files[name])) for name in sorted(listing.files))
    pictures = list(decode(named, len(listing.files), image_size, on_progress))
    if _combined({picture.name: picture.digest for picture in pictures}) != digest:
        raise DataError(
            f"the pictures in {printable(listing.root)} changed while they were read",
            hint="Wait until nothing writes there any more, and start again",
        )
    return assemble(printable(listing.root), pictures, image_size, skip_bad)


def _walk(root: Path, layout: Layout) -> Iterator[tuple[os.DirEntry[str], list[str]]]:
    """Every file below `root`, with its steps from there; folders are noted in `layout`, links to folders as links."""
    pending: list[tuple[str, list[str]]] = [(str(root), [])]
    while pending:
        folder, above = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                steps = [*above, entry.name]
                if is_clutter(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    layout.add_folder(steps)
                    if steps[0] in PARTS:
                        pending.append((entry.path, steps))
                elif not _is_file(entry):  # a link to a folder, to nothing or to itself, a pipe
                    layout.links.append("/".join(steps))
                else:
                    yield entry, steps


def _is_file(entry: os.DirEntry[str]) -> bool:
    return is_file(Path(entry.path)) if entry.is_symlink() else entry.is_file()


def _combined(digests: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(digests):
        encoded = name.encode("utf-8", "surrogatepass")
        whole.update(len(encoded).to_bytes(4, "little") + encoded + digests[name])
    return whole.hexdigest()
