"""Published files fetched over https: the fastest source first, continued from a `.part` file, checked by SHA-256.

The downloaders at hand (pooch, huggingface_hub, torch.hub) start again from nothing after a cut, or follow a redirect
to plain http.
"""

import hashlib
import http.client
import os
import queue
import shutil
import stat
import threading
import time
import urllib.error
import urllib.parse
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from cnnlab.data.dataset import OnProgress, Progress
from cnnlab.data.standard import RemoteFile
from cnnlab.data.web import is_safe, open_url
from cnnlab.errors import DataError, MachineError, UsageError
from cnnlab.machine import lock
from cnnlab.text import printable

ANSWER_SECONDS = 5.0
"""A source that has not answered after this long is not waited for."""

_PREFERENCE_SECONDS = 1.0  # once one source has answered, how long better ones may still take
_PACE_SECONDS = 20.0
_PACE_BYTES = 1 << 16
"""A source that does not bring so much of the file in so many seconds is given up: it may drip for ever."""
_CHUNK = 1 << 18
_ATTEMPTS = 3
_NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)


class Unavailable(MachineError):
    """No source has the file: no network, none answered in time, or each answered with something else."""


class _CutShort(Exception):
    """The connection ended before the file did."""


class _WrongContent(Exception):
    """The file came whole, and is another one."""


def fetch(name: str, file: RemoteFile, folder: Path, *, offline: bool, on_progress: OnProgress) -> Path:
    """Put the published file of the data set `name` into `folder`; returns its path at once where it is there.

    Nothing stands under the final name before the hash is right. A download that was cut is kept as `.part`, and the
    next one goes on from there.

    Raises:
        Unavailable: no source has the file, or `offline`; nothing was written.
        MachineError: cut short at every source, a full disk, no permission, another process at the same download.
        DataError: what came is not the published file.
        UsageError: CNNLAB_MIRROR is neither https nor on 127.0.0.1.
    """
    target = folder / file.name
    if target.is_file():
        return target
    urls = _urls(file)
    if offline:
        raise Unavailable(
            f"{name} is not on this disk, and no network was asked (offline)", hint=_by_hand(file, folder)
        )
    answering, reasons = _ask_all(urls, file.size)
    if not answering:
        listed = "; ".join(f"{_host(url)}: {reason}" for url, reason in reasons.items())
        raise Unavailable(
            f"{name} is not on this disk, and no source answered within {ANSWER_SECONDS:.0f} s ({listed})",
            hint=_by_hand(file, folder),
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _from_any(answering, file, target, on_progress)
    except OSError as error:
        raise MachineError(
            f"cannot write {printable(error.filename or target)}: {error.strerror}", hint=_by_hand(file, folder)
        ) from error
    return target


def _from_any(urls: list[str], file: RemoteFile, target: Path, on_progress: OnProgress) -> None:
    part = target.with_name(f"{target.name}.part")
    failures: dict[str, Exception] = {}
    with _opened(part) as out:
        _lock(out, target)
        if target.is_file():
            return  # another process was faster
        _check_space(out, file, target)
        for url in urls:
            try:
                _from_one(url, file, out, on_progress)
            except (_CutShort, _WrongContent) as error:
                failures[url] = error
            else:
                failures.clear()
                break
        left = out.seek(0, os.SEEK_END)
    if not failures:
        part.replace(target)  # after closing it: Windows renames no open file
        return
    if not left:
        part.unlink()
    listed = "; ".join(f"{url}: {error}" for url, error in failures.items())
    wrong = any(isinstance(error, _WrongContent) for error in failures.values())
    kind: type[DataError] | type[MachineError] = DataError if wrong else MachineError
    kept = f"Start again: it goes on from the {left:,} bytes that came. Or: " if left else ""
    raise kind(f"{file.name} could not be downloaded: {listed}", hint=kept + _by_hand(file, target.parent))


def _from_one(url: str, file: RemoteFile, out: BufferedRandom, on_progress: OnProgress) -> None:
    """Fetch from one source into `out`, going on from what it holds, until the hash is right."""
    last = _CutShort("cut short")
    for _ in range(_ATTEMPTS):
        before = out.seek(0, os.SEEK_END)
        if before < file.size:
            try:
                _transfer(url, file, out, on_progress)
            except _CutShort as error:
                last = error
                if out.seek(0, os.SEEK_END) <= before:
                    raise
                continue
        out.seek(0)
        digest = hashlib.file_digest(out, "sha256").hexdigest()
        if digest == file.sha256:
            out.flush()
            os.fsync(out.fileno())
            return
        out.truncate(0)
        if not before:
            raise _WrongContent(f"expected SHA-256 {file.sha256}, received {digest}")
        # What was there before may have been the wrong part: once more from the start.
    raise last


def _transfer(url: str, file: RemoteFile, out: BufferedRandom, on_progress: OnProgress) -> None:
    done = out.seek(0, os.SEEK_END)
    try:
        response = open_url(url, _PACE_SECONDS, f"bytes={done}-" if done else None)
    except _NETWORK_ERRORS as error:
        raise _CutShort(_reason(error)) from error
    with closing(response):
        if done and not (response.headers.get("Content-Range") or "").startswith(f"bytes {done}-"):
            out.truncate(0)  # the source starts from the beginning, whatever was asked
            done = 0
        out.seek(done)
        shown, paced = 0.0, done
        while done < file.size:
            try:
                chunk = response.read1(min(_CHUNK, file.size - done))  # what has come: `read` waits for all of it
            except _NETWORK_ERRORS as error:
                raise _CutShort(f"cut short after {done:,} of {file.size:,} bytes ({_reason(error)})") from error
            if not chunk:
                break
            done += len(chunk)
            out.write(chunk)
            if done - paced >= _PACE_BYTES:
                paced = done
                response.allow(_PACE_SECONDS)
            if time.monotonic() - shown > 0.1 or done == file.size:
                shown = time.monotonic()
                on_progress(Progress(f"downloading {file.name}", done, file.size, "bytes"))
    if done < file.size:
        raise _CutShort(f"cut short after {done:,} of {file.size:,} bytes")


@dataclass(frozen=True)
class _Answer:
    url: str
    reason: str | None
    """None: it has the file."""


def _ask_all(urls: list[str], size: int) -> tuple[list[str], dict[str, str]]:
    """Ask all sources at once: those that have the file, in the order given, and why the others were left out."""
    answers: queue.Queue[_Answer] = queue.Queue()
    for url in urls:
        # Daemon threads, no pool: one that hangs in a name server must not keep the program from ending.
        threading.Thread(target=_ask, args=(url, size, answers.put), daemon=True).start()
    deadline = time.monotonic() + ANSWER_SECONDS
    received: dict[str, str | None] = {}
    while len(received) < len(urls) and received.get(urls[0], "not yet") is not None:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        received[answer.url] = answer.reason
        if answer.reason is None:
            deadline = min(deadline, time.monotonic() + _PREFERENCE_SECONDS)
    having = [url for url in urls if received.get(url, "no answer") is None]
    return having, {url: received.get(url) or "no answer" for url in urls if url not in having}


def _ask(url: str, size: int, answer: Callable[[_Answer], None]) -> None:
    try:
        with closing(open_url(url, ANSWER_SECONDS, "bytes=0-0")) as response:
            content_range = response.headers.get("Content-Range") or ""
            total = (
                content_range.rpartition("/")[2] if response.status == 206 else response.headers.get("Content-Length")
            )
        known = total and total.isdigit()
        answer(_Answer(url, f"offers {int(total):,} bytes, not {size:,}" if known and int(total) != size else None))
    except _NETWORK_ERRORS as error:
        answer(_Answer(url, _reason(error)))


def _urls(file: RemoteFile) -> list[str]:
    mirror = os.environ.get("CNNLAB_MIRROR")
    if not mirror:
        return list(file.sources)
    if not is_safe(mirror):
        raise UsageError(
            f"CNNLAB_MIRROR is {printable(mirror)}: expected an https:// address, or http:// on 127.0.0.1",
            hint=f"{file.name} is looked for at $CNNLAB_MIRROR/{file.mirror_path}",
        )
    return [f"{mirror.rstrip('/')}/{file.mirror_path}", *file.sources]


def _check_space(out: BufferedRandom, file: RemoteFile, target: Path) -> None:
    needed = file.size - out.seek(0, os.SEEK_END)
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise MachineError(
            f"{printable(target.parent)} has {free:,} bytes free; {file.name} needs {needed:,}",
            hint="Free some, or choose another place with --data-dir",
        )


def _opened(part: Path) -> BufferedRandom:
    """Open for reading and writing, created where it is missing, never emptied: another process may be at it.

    Raises:
        MachineError: a link, which may lead to any file of the user's, to be emptied; a pipe, a device.
    """
    if os.path.lexists(part) and not stat.S_ISREG(part.lstat().st_mode):  # Windows knows no O_NOFOLLOW
        raise MachineError(
            f"cannot write {printable(part)}: it is a link, a pipe or a device, expected a file", hint="Remove it"
        )
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(part, flags, 0o666)
    return os.fdopen(handle, "r+b")


def _lock(out: BufferedRandom, target: Path) -> None:
    """Lock the `.part` file until it is closed, so that two processes do not write into it at once."""
    try:
        lock(out.fileno())
    except (BlockingIOError, PermissionError):
        raise MachineError(
            f"another process is downloading {printable(target)}", hint="Wait for it, then start again"
        ) from None
    except OSError:
        pass  # a file system without locks


def _by_hand(file: RemoteFile, folder: Path) -> str:
    sources = "".join(f"\n  {url}" for url in file.sources)
    return (
        f"Put {file.name} ({file.size:,} bytes, SHA-256 {file.sha256}) into {printable(folder.resolve())}, from one of"
        f"{sources}\nOr name a mirror: CNNLAB_MIRROR=https://… Or take what needs no download: --data digits"
    )


def _host(url: str) -> str:
    return printable(urllib.parse.urlsplit(url).netloc)


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, urllib.error.URLError):
        return _reason(error.reason) if isinstance(error.reason, BaseException) else printable(error.reason)
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    return printable(error) or type(error).__name__
