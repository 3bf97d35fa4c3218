"""Writing that leaves either the old file or the whole new one, and says clearly when the machine will not."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from cnnlab.errors import MachineError
from cnnlab.text import cut, printable

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space, or choose another folder with --out"),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another folder with --out"),
    errno.EACCES: ("permission denied", "Choose a folder that you may write to"),
    errno.EROFS: ("the file system is read-only", "Choose a folder that you may write to"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Choose another folder"),
    errno.ELOOP: ("it is a symbolic link where none is expected", "Remove that link"),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one"),
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a MachineError that says what to do."""
    try:
        yield
    except OSError as error:
        reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), "Choose another place"))
        raise MachineError(f"cannot write {printable(path)}: {reason}", hint=hint) from error


def require_no_link(path: Path) -> None:
    """Refuse a part of a folder that leads elsewhere: whoever sent the folder would have us write there.

    Raises:
        MachineError: `path` is a symbolic link.
    """
    if path.is_symlink():
        raise MachineError(
            f"cannot write {printable(path)}: it is a symbolic link to {cut(os.path.realpath(path), 200)}, "
            "and cnnlab follows none inside a run or a comparison",
            hint="If you moved that folder there yourself, move it back to the place of the link; else remove the link",
        )


def is_file(path: Path) -> bool:
    """Whether there is a file; False too where the system will not say: a name too long, a folder that is locked."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # pathlib passes on EACCES and ENAMETOOLONG until Python 3.14
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False too where the system will not say, as `is_file`."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name, flush it to the disk, then rename it: readers see all of it or none.

    Raises:
        MachineError: the disk is full, no permission, the folder is a file; the old file is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = temporary_beside(path)
    with writing(path):
        try:
            write_and_flush(temporary, data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def temporary_beside(path: Path) -> Path:
    """A name under which to write what is to become `path`: another each time, so that nobody lies in wait there."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process left under temporary names; only for a folder that nobody else writes to."""
    with writing(folder):
        for leftover in folder.glob(".*.tmp"):
            if leftover.is_file() or leftover.is_symlink():
                leftover.unlink(missing_ok=True)


def write_and_flush(path: Path, data: bytes) -> None:
    """Write a new file and have the system put it on the disk; one that is there already, or a link, is an error."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries, so that a rename survives a power cut (where the system can do that)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
