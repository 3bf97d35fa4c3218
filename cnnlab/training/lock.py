"""One process a run folder. The lock is the system's, so it ends with its process, however that dies."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from cnnlab.errors import MachineError
from cnnlab.files import writing
from cnnlab.machine import lock
from cnnlab.text import printable

NAME = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems without locks answer; a run there goes on without one."""


@contextlib.contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, a file with this process's number, until the block ends.

    Raises:
        MachineError: a live process holds it.
    """
    path = folder / NAME
    descriptor = _acquire(path)
    try:
        yield
    finally:
        if os.name == "posix":  # while the lock is still held, so that nobody's new file is removed
            path.unlink(missing_ok=True)
            os.close(descriptor)
        else:  # Windows removes no open file
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()


def _acquire(path: Path) -> int:
    while True:
        with writing(path):
            # No link is followed: in a stranger's folder it may lead to any file of the user's, to be emptied.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            lock(descriptor)
            if _still_there(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
                return descriptor
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return descriptor
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise MachineError(
                f"{printable(path.parent)} is in use by process {printable(holder) or 'unknown'}",
                hint="Wait until that run has ended, or stop it; a run folder belongs to one process at a time",
            ) from None
        os.close(descriptor)  # its owner removed the file between our opening and our locking it: try the new one


def _still_there(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
