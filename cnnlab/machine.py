"""What this machine has, of it what this process may use, and its locks on files."""

import importlib.util
import os
import sys
from pathlib import Path

from cnnlab.files import is_file


def usable_cores() -> int:
    """Cores that this process may use: taskset, a container's cpuset or a batch system may leave it a few of many."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory() -> int | None:
    """Bytes of this machine's memory; None where the system does not tell (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def file_of_package(package: str, *steps: str) -> Path | None:
    """A file that an installed package brings along, found without importing it; None where there is none."""
    found = importlib.util.find_spec(package)
    places = (found.submodule_search_locations or []) if found else []
    return next((file for place in places if is_file(file := Path(place, *steps))), None)


def lock(descriptor: int) -> None:
    """Lock an open file until it is closed or this process has ended, however it dies.

    Raises:
        OSError: another process holds the lock, or the file system has none.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _FAR_BEHIND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_FAR_BEHIND = 1 << 30
"""Windows keeps others from reading what is locked: one byte is, behind all that a locked file holds."""
