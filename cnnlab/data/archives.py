"""Archives (.tar.gz, .tar, .zip) read member by member within bounds; nothing is ever unpacked onto the disk."""

import errno
import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cnnlab.errors import DataError, MachineError
from cnnlab.reading import NotAFile, open_file
from cnnlab.text import cut, printable

MAX_MEMBERS = 2_000_000
MAX_MEMBER_BYTES = 256 << 20
MAX_TOTAL_BYTES = 64 << 30
MAX_NAME = 4096
"""Bounds on what an archive may hold, so that a small file cannot fill the memory."""
MAX_HEADER_BYTES = 1 << 20
FREE_BYTES = 16 << 20
MAX_RATIO = 100
"""Beyond `FREE_BYTES`, what comes out may be this many times what went in. Pictures hardly shrink; a bomb of zeros
unfolds a thousandfold."""

ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip")

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    OverflowError,
)
"""What the libraries raise; the last two where a header's number or name is none, which they take as it comes."""

_SAYS_UTF8 = 0x800
"""Of a member's flags (APPNOTE 4.4.4, bit 11)."""

Member = tuple[list[str], bytes | None]
"""A member's path as steps from the top, and its bytes; None for a folder."""


def members(file: Path) -> Iterator[Member]:
    """The members of an archive in its order, one in memory at a time.

    Raises:
        DataError: no archive, damaged, encrypted, too large; a link or a device in it; a name that leads outside or
            stands twice.
        MachineError: the file cannot be read.
    """
    seen: set[str] = set()
    with _reading(file):
        for name, data in _zip(file) if _is_zip(file) else _tar(file):
            steps = _steps(file, name)
            if not steps:
                continue
            if data is not None and "/".join(steps) in seen:
                raise DataError(f"{printable(file)} holds {printable(name)} twice", hint="Repack it")
            if len(seen) >= MAX_MEMBERS:
                raise DataError(f"{printable(file)} holds too many files: at most {MAX_MEMBERS:,} are read")
            seen.add("/".join(steps))
            yield steps, data


def without_ending(file: Path) -> str:
    """The archive's file name without its ending, such as `cifar10-jpeg` of `cifar10-jpeg.tar.gz`."""
    lowered = file.name.lower()
    ending = next((ending for ending in ENDINGS if lowered.endswith(ending)), "")
    return file.name[: len(file.name) - len(ending)]


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Errors of the archive libraries as cnnlab's own."""
    try:
        yield
    except _DAMAGED as error:
        raise DataError(
            f"{printable(file)} is not a readable archive: it is damaged or cut short: {printable(error)}",
            hint="Get the file again; " + ", ".join(ENDINGS) + " are read",
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile: a method it lacks, a password
        raise DataError(f"{printable(file)} cannot be unpacked: {printable(error)}", hint="Repack it") from error
    except NotAFile as error:
        raise DataError(f"{printable(file)} is not an archive: {error.strerror}") from None
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # an archive's own numbers, such as a place before its beginning
            raise DataError(f"{printable(file)} is damaged: {printable(error)}", hint="Get the file again") from error
        raise MachineError(f"cannot read {printable(file)}: {error.strerror or printable(error)}") from error


def _is_zip(file: Path) -> bool:
    with open_file(file) as opened:
        return zipfile.is_zipfile(opened)


def _tar(file: Path) -> Iterator[tuple[str, bytes | None]]:
    with open_file(file) as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        unpacked: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
        bounded = _Bounded(unpacked, raw, file)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for member in archive:
                _check_length(file, member.name)
                if member.size < 0:  # the next member would be one before it, for ever
                    raise EOFError(f"{member.name} has a negative size")
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has seen
                if member.isdir():
                    yield member.name, None
                elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
                    extracted = archive.extractfile(member)
                    assert extracted is not None
                    bounded.largest = MAX_MEMBER_BYTES
                    yield member.name, extracted.read()
                    bounded.largest = MAX_HEADER_BYTES
                else:
                    raise _not_plain(file, member.name)
            # tarfile takes a cut between two members for the end, and gzip's checksum stands behind the padding.
            bounded.seek(archive.offset)
            if bounded.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError("the mark of its end is missing")
            while bounded.read(1 << 20):
                pass


def _zip(file: Path) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(file) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > MAX_TOTAL_BYTES:
            raise _too_large(file)
        check_ratio(file, total, file.stat().st_size)
        for member in archive.infolist():
            name = _name(member)
            _check_length(file, name)
            if name.endswith(("/", "\\")):  # is_dir() fails at a name without a character
                yield name, None
                continue
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _not_plain(file, name)
            if member.file_size > MAX_MEMBER_BYTES:
                raise _too_large(file)
            # LZMA may ask for a dictionary of 4 GiB, whatever the size.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError(f"compression method {member.compress_type}")
            check_ratio(file, member.file_size, member.compress_size)
            with archive.open(member) as opened:
                yield name, opened.read(MAX_MEMBER_BYTES)


def _name(member: zipfile.ZipInfo) -> str:
    """A member's name: some packers, macOS's among them, write UTF-8 and do not say so; zipfile then takes cp437."""
    if member.flag_bits & _SAYS_UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename


class _Bounded(io.RawIOBase):
    """A stream for tarfile that refuses one read, a whole length, or a growth over `raw`, beyond the bounds."""

    def __init__(self, stream: IO[bytes], raw: IO[bytes], file: Path) -> None:
        self._stream, self._raw, self._file = stream, raw, file
        self.largest = MAX_HEADER_BYTES
        """Of one read: a header's size until a member is to be read."""

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > self.largest or self._stream.tell() + size > MAX_TOTAL_BYTES:
            raise _too_large(self._file)
        pieces = []
        while size > 0 and (piece := self._stream.read(min(size, 1 << 20))):
            pieces.append(piece)
            size -= len(piece)
            check_ratio(self._file, self._stream.tell(), self._raw.tell())
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset > MAX_TOTAL_BYTES:
            raise _too_large(self._file)
        while self._stream is not self._raw and self._stream.tell() + (1 << 20) < offset:
            before = self._stream.tell()
            self._stream.seek(before + (1 << 20))  # what is passed over is unfolded too
            if self._stream.tell() == before:
                break
            check_ratio(self._file, self._stream.tell(), self._raw.tell())
        return self._stream.seek(offset)

    def tell(self) -> int:
        return self._stream.tell()


def most_unfolded(packed: int) -> int:
    """Bytes that `packed` bytes may unfold to."""
    return max(FREE_BYTES, MAX_RATIO * packed)


def check_ratio(file: Path, unpacked: int, packed: int) -> None:
    """Refuse a bomb.

    Raises:
        DataError: more than `most_unfolded` came out.
    """
    if unpacked > most_unfolded(packed):
        raise DataError(
            f"{printable(file)} unfolds to {unpacked:,} bytes or more from {packed:,}: no pictures shrink so much, "
            f"at most {MAX_RATIO} times as much is read",
            hint="If you trust it, unpack it yourself and give the folder",
        )


def _check_length(file: Path, name: str) -> None:
    """Refuse a name that no file system has: a header may hold a megabyte of it, packed into a kilobyte."""
    if len(name) > MAX_NAME:
        raise DataError(
            f"{printable(file)} holds a name of {len(name):,} characters ({cut(name)}): at most {MAX_NAME:,} are read",
            hint="Repack it",
        )


def _steps(file: Path, name: str) -> list[str]:
    """The path's steps, `.` left out."""
    steps = [step for step in name.replace("\\", "/").split("/") if step not in ("", ".")]
    if ".." in steps or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":") or "\0" in name:
        raise DataError(
            f"{printable(file)} holds a name that leads outside: {printable(name)}",
            hint="Do not trust this archive; pack your own with relative names",
        )
    return steps


def _not_plain(file: Path, name: str) -> DataError:
    return DataError(
        f"{printable(file)} holds a link or a device: {printable(name)}; expected plain files and folders",
        hint="Repack it with the files themselves (tar --dereference)",
    )


def _too_large(file: Path) -> DataError:
    return DataError(
        f"{printable(file)} is too large unpacked: at most {MAX_MEMBER_BYTES:,} bytes a file and {MAX_TOTAL_BYTES:,} "
        "bytes in all are read",
        hint="Unpack it yourself and give the folder",
    )
