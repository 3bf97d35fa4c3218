"""Small data of every format, written by the tests themselves; no set of the system's is seen."""

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import standard
from cnnlab.data.standard import RemoteFile, Standard

CIFAR_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905


@pytest.fixture(autouse=True)
def no_system_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "no-such-share"))


def picture(seed: int, size: tuple[int, int] = (8, 8), gray: bool = False) -> Image.Image:
    """A picture (width, height) that differs by seed."""
    shape = size[::-1] if gray else (*size[::-1], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def picture_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of PNGs: `make({"train/cat": 4, "train/dog": 3})`; every picture differs."""
    made = 0

    def make(counts: dict[str, int], root: Path | None = None, **options: Any) -> Path:
        nonlocal made
        root = root or tmp_path / "pictures"
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                made += 1
                picture(made, **options).save(root / folder / f"{index:04d}.png")
        return root

    return make


def py2_pickle(value: Any) -> bytes:
    """`value` as Python 2 pickled the batches of CIFAR (protocol 2, byte strings, numpy.core.multiarray)."""
    return b"\x80\x02" + _encoded(value) + b"."


def _encoded(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x89" if not value else b"\x88"
    if isinstance(value, int):
        return b"J" + value.to_bytes(4, "little", signed=True)
    if value is None:
        return b"N"
    if isinstance(value, str):
        return _encoded(value.encode())
    if isinstance(value, bytes):
        return b"T" + len(value).to_bytes(4, "little") + value
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_encoded, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(_encoded, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_encoded(item) for pair in value.items() for item in pair) + b"u"
    assert isinstance(value, np.ndarray)
    dtype = (
        b"cnumpy\ndtype\n" + _encoded((value.dtype.str[1:], 0, 1)) + b"R" + _encoded((3, "|", *[None] * 3, -1, -1, 0))
    )
    state = (
        b"(" + _encoded(1) + _encoded(value.shape) + dtype + b"b" + _encoded(False) + _encoded(value.tobytes()) + b"t"
    )
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        + _encoded((0,))
        + _encoded("b")
        + b"tR"
        + state
        + b"b"
    )


def cifar_batch(count: int, seed: int, labels_key: str = "labels", classes: int = 10) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "batch_label": "a small batch",
        labels_key: [index % classes for index in range(count)],
        "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
        "filenames": [f"picture_{index}.png" for index in range(count)],
    }


def cifar_files(count: int = 20) -> dict[str, bytes]:
    """The files of a small CIFAR-10: five batches of `count`, a test batch, the names."""
    files = {f"data_batch_{number}": py2_pickle(cifar_batch(count, number)) for number in range(1, 6)}
    files["test_batch"] = py2_pickle(cifar_batch(count, 6))
    files["batches.meta"] = py2_pickle({"num_cases_per_batch": count, "label_names": CIFAR_CLASSES, "num_vis": 3072})
    return files


def cifar_archive(files: dict[str, bytes], folder: str = "cifar-10-batches-py") -> bytes:
    """The files packed as published, the folder's own entry and a readme included."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        top = tarfile.TarInfo(folder)
        top.type = tarfile.DIRTYPE
        archive.addfile(top)
        for name, data in {**files, "readme.html": b"<html>"}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_files(train: int = 40, test: int = 20) -> dict[str, bytes]:
    """A small MNIST: the four gzipped files by name."""
    rng = np.random.default_rng(0)
    files = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28))
        files[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(idx(images))
        files[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.arange(count) % 10))
    return files


@dataclass
class Server:
    """A web server on 127.0.0.1: `files` by path; `cut` ends each answer after so many bytes; `requests` it has had."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = True
    hang: threading.Event | None = None
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        if self.hang:
            self.hang.wait(20)
        if handler.path in self.redirects:
            handler.send_response(302)
            handler.send_header("Location", self.redirects[handler.path])
            handler.end_headers()
            return
        data = self.files.get(handler.path)
        if data is None:
            handler.send_error(404)
            return
        first, last = 0, len(data) - 1
        if asked and self.ranges:
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), int(end) if end else last
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(last + 1 - first))
        handler.end_headers()
        body = data[first : last + 1]
        handler.wfile.write(body if self.cut is None else body[: self.cut])


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # the client asked for the headers alone
                running.answer(self)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield running
    if running.hang:
        running.hang.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def small_cifar(server: Server, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The server offers a small archive, and the table of sets says that it is the published CIFAR-10."""
    archive = cifar_archive(cifar_files())
    server.files["/cifar-10-python.tar.gz"] = archive
    name = "cifar-10-python.tar.gz"
    file = RemoteFile(name, len(archive), hashlib.sha256(archive).hexdigest(), (f"{server.url}/{name}",), name)
    small = Standard("cifar10", "a small CIFAR-10", "cifar", (100, 20), True, files=(file,))
    monkeypatch.setitem(standard.STANDARD, "cifar10", small)
    return archive
