"""Reading strangers' files: plain files only, and never more of them than was asked for."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


class NotAFile(OSError):
    """What the path names is a pipe, a socket or a device: reading it could wait or go on for ever."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "it is a pipe or a device, expected a file", str(path))


def open_file(path: Path) -> BufferedReader:
    """Open a plain file, or a link to one, for reading.

    Raises:
        NotAFile: a pipe, a socket or a device. Folders and missing files raise what `open` raises.
    """
    mode = path.stat().st_mode  # before it is opened: opening a pipe waits for its writer
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise NotAFile(path)
    file = path.open("rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotAFile(path)
    return file


def read_up_to(path: Path, limit: int) -> bytes:
    """A plain file's bytes, at most `limit` + 1 of them: more than `limit` says that it is too large.

    Raises:
        OSError: it cannot be read; `NotAFile` where it is none.
    """
    with open_file(path) as file:
        return file.read(limit + 1)
