"""Counts what a process does to files below a folder, and lets one operation fail, or the process die at it.

Installed in a forked child only: it replaces functions of `os` and `io` for good.
"""

import io
import os
import signal
from pathlib import Path


class Operations:
    """Every open for writing, write, fsync, rename, unlink and mkdir below `folder`, numbered from 1."""

    def __init__(self, folder, *, number=0, how="", log=None):
        """Let operation `number` go wrong: `how` is kill-before, kill-after, kill-half (of a write), or an errno."""
        self.folder, self.number, self.how, self.log = str(Path(folder).resolve()), number, how, log
        self.count = 0

    def install(self):
        for name in ("replace", "rename", "unlink", "mkdir"):
            self._watch_path(name)
        self._watch_fsync()
        self._watch_open()

    def perform(self, name, path, act, *, half=None):
        self.count += 1
        if self.log is not None:
            os.write(self.log, f"{name} {Path(path).name}\n".encode())
        if self.count != self.number:
            return act()
        if isinstance(self.how, int):
            raise OSError(self.how, os.strerror(self.how))
        if self.how == "kill-half" and half is not None:
            half()
        try:
            return act() if self.how == "kill-after" else None
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    def _inside(self, path):
        return str(Path(path).absolute()).startswith(self.folder)

    def _watch_path(self, name):
        real = getattr(os, name)

        def watched(path, *arguments, **options):
            if not self._inside(path):
                return real(path, *arguments, **options)
            return self.perform(name, path, lambda: real(path, *arguments, **options))

        setattr(os, name, watched)

    def _watch_fsync(self):
        real = os.fsync

        def watched(descriptor):
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if not self._inside(path):
                return real(descriptor)
            return self.perform("fsync", path, lambda: real(descriptor))

        os.fsync = watched

    def _watch_open(self):
        real = io.open

        def watched(file, mode="r", *arguments, **options):
            if not set(mode) & set("wax+") or not isinstance(file, str | os.PathLike) or not self._inside(file):
                return real(file, mode, *arguments, **options)
            opened = self.perform("open", file, lambda: real(file, mode, *arguments, **options))
            return _Writing(opened, file, self)

        io.open = watched


class _Writing:
    """A file opened for writing, whose writes are counted."""

    def __init__(self, file, path, operations):
        self.file, self.path, self.operations = file, path, operations

    def write(self, data):
        def half():
            self.file.write(data[: len(data) // 2])
            self.file.flush()

        return self.operations.perform("write", self.path, lambda: self.file.write(data), half=half)

    def __enter__(self):
        self.file.__enter__()
        return self

    def __exit__(self, *details):
        return self.file.__exit__(*details)

    def __getattr__(self, name):
        return getattr(self.file, name)
