"""Downloads against a server on 127.0.0.1: resumed, checked, never half there."""

import hashlib
import socket
import sys
import threading
import time
from contextlib import suppress

import pytest

from cnnlab.data import download
from cnnlab.data.download import Unavailable, fetch
from cnnlab.data.standard import RemoteFile
from cnnlab.errors import DataError, MachineError, UsageError

DATA = bytes(range(256)) * 4000
PROBED = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/%d\r\n\r\n" % len(DATA)


@pytest.fixture
def remote(server):
    server.files["/set.tar.gz"] = DATA
    return RemoteFile(
        "set.tar.gz", len(DATA), hashlib.sha256(DATA).hexdigest(), (f"{server.url}/set.tar.gz",), "set.tar.gz"
    )


@pytest.fixture
def get(remote, tmp_path):
    """Fetch into `tmp_path/data`; returns the progress events."""
    folder = tmp_path / "data"

    def fetch_now(file=remote, **options):
        events = []
        fetch("set", file, folder, **{"offline": False, "on_progress": events.append, **options})
        return events

    fetch_now.folder = folder
    return fetch_now


def names(folder):
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def test_a_download_comes_whole_with_progress(get, server):
    events = get()
    assert (get.folder / "set.tar.gz").read_bytes() == DATA
    assert names(get.folder) == ["set.tar.gz"]
    assert (events[-1].done, events[-1].total, events[-1].unit) == (len(DATA), len(DATA), "bytes")
    server.requests.clear()
    get()
    assert server.requests == []  # it is there


def test_a_cut_download_says_so_and_goes_on_where_it_stopped(get, server):
    server.cut, server.ranges = 300_000, False
    with pytest.raises(MachineError, match="cut short after 300,000 of 1,024,000 bytes") as caught:
        get()
    assert "goes on from the 300,000 bytes" in caught.value.hint
    assert hashlib.sha256(DATA).hexdigest() in caught.value.hint
    assert str(get.folder) in caught.value.hint
    assert server.url in caught.value.message
    assert names(get.folder) == ["set.tar.gz.part"]
    server.cut, server.ranges = None, True
    server.requests.clear()
    get()
    assert ("/set.tar.gz", "bytes=300000-") in server.requests
    assert (get.folder / "set.tar.gz").read_bytes() == DATA
    assert names(get.folder) == ["set.tar.gz"]


def test_cuts_in_one_run_are_mended_by_going_on(get, server):
    server.cut = 400_000
    get()
    assert [asked for _, asked in server.requests] == ["bytes=0-0", None, "bytes=400000-", "bytes=800000-"]
    assert (get.folder / "set.tar.gz").read_bytes() == DATA


def test_a_source_without_ranges_starts_again(get, server):
    get.folder.mkdir()
    (get.folder / "set.tar.gz.part").write_bytes(DATA[:5000])
    server.ranges = False
    get()
    assert (get.folder / "set.tar.gz").read_bytes() == DATA


def test_a_wrong_part_is_thrown_away_and_fetched_anew(get):
    get.folder.mkdir()
    (get.folder / "set.tar.gz.part").write_bytes(b"x" * 5000)
    get()
    assert (get.folder / "set.tar.gz").read_bytes() == DATA


def test_a_part_longer_than_the_file_is_thrown_away(get):
    get.folder.mkdir()
    (get.folder / "set.tar.gz.part").write_bytes(b"x" * (len(DATA) + 1))
    get()
    assert (get.folder / "set.tar.gz").read_bytes() == DATA


def test_a_wrong_hash_leaves_nothing(get, server):
    wrong = DATA[:-1] + b"x"
    server.files["/set.tar.gz"] = wrong
    with pytest.raises(DataError, match="expected SHA-256") as caught:
        get()
    assert hashlib.sha256(wrong).hexdigest() in caught.value.message
    assert hashlib.sha256(DATA).hexdigest() in caught.value.message
    assert server.url in caught.value.message
    assert names(get.folder) == []


def test_another_length_is_another_file(get, server):
    server.files["/set.tar.gz"] = b"<html>please log in</html>"
    with pytest.raises(Unavailable, match="offers 26 bytes, not 1,024,000"):
        get()
    assert names(get.folder) == []


def test_the_next_source_helps(get, server, remote):
    server.files["/wrong"] = b"x" * len(DATA)
    sources = (f"{server.url}/missing", f"{server.url}/wrong", f"{server.url}/set.tar.gz")
    get(RemoteFile(remote.name, remote.size, remote.sha256, sources, remote.mirror_path))
    assert (get.folder / "set.tar.gz").read_bytes() == DATA


def test_the_mirror_comes_first(get, server, remote, monkeypatch):
    server.files["/mirror/set.tar.gz"] = DATA
    monkeypatch.setenv("CNNLAB_MIRROR", f"{server.url}/mirror/")
    get()
    assert ("/mirror/set.tar.gz", None) in server.requests
    assert ("/set.tar.gz", None) not in server.requests


@pytest.mark.parametrize(
    "mirror",
    [
        "http://example.org/data",
        "ftp://127.0.0.1/",
        "http://localhost/",
        "file:///etc",
        "x",
        "http://[",
        "HTTP://127.0.0.2",
    ],
)
def test_only_https_and_this_machine(get, monkeypatch, mirror):
    monkeypatch.setenv("CNNLAB_MIRROR", mirror)
    with pytest.raises(UsageError, match="expected an https:// address"):
        get()
    assert names(get.folder) == []


def test_a_redirect_to_plain_http_is_not_followed(get, server):
    server.redirects["/set.tar.gz"] = "http://example.org/set.tar.gz"
    with pytest.raises(Unavailable, match=r"redirects to http://example\.org/set\.tar\.gz, which is not https"):
        get()


def test_offline_asks_nobody(get, server):
    with pytest.raises(Unavailable, match="no network was asked"):
        get(offline=True)
    assert server.requests == []
    assert not get.folder.exists()


def test_no_answer_is_not_waited_for(get, server, monkeypatch):
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.3)
    server.hang = threading.Event()
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"no answer|timed out"):
        get()
    assert time.monotonic() - started < 2
    assert not get.folder.exists()


@pytest.fixture
def endless():
    """Start a server that answers what it has correctly, then with `head` and `drop`s for ever; returns its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    answers = []

    def talk(connection, head, drop, probe):
        with connection, suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += connection.recv(4096)
            if probe and b"bytes=0-0" in asked:
                connection.sendall(probe)
                return
            connection.sendall(head)
            while True:
                connection.sendall(drop)
                time.sleep(0.01)

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=talk, args=(connection, *answers), daemon=True).start()

    def start(head, drop, probe=PROBED):
        answers.extend((head, drop, probe))
        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/set.tar.gz"

    yield start
    listening.close()


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA), b"x"),
    ],
    ids=["100 Continue", "trailers", "a byte now and then"],
)
def test_a_server_that_sends_for_ever_is_given_up(get, remote, endless, monkeypatch, head, drop):
    monkeypatch.setattr(download, "_PACE_SECONDS", 0.3)
    url = endless(head, drop)
    started = time.monotonic()
    with pytest.raises(MachineError, match="too slow: little or nothing of use in 0 s"):
        get(RemoteFile(remote.name, remote.size, remote.sha256, (url,), remote.mirror_path))
    assert time.monotonic() - started < 5


def test_what_comes_with_a_redirect_is_not_read(get, remote, endless, server):
    head = f"HTTP/1.1 302 F\r\nLocation: {server.url}/set.tar.gz\r\n\r\n".encode()
    url = endless(head, bytes(1000), probe=None)
    get(RemoteFile(remote.name, remote.size, remote.sha256, (url,), remote.mirror_path))
    assert (get.folder / "set.tar.gz").read_bytes() == DATA


def test_a_slow_server_that_brings_enough_is_waited_for(get, remote, endless, monkeypatch):
    monkeypatch.setattr(download, "_PACE_SECONDS", 0.5)
    monkeypatch.setattr(download, "_PACE_BYTES", 1000)
    data = bytes(100_000)  # 1,000 bytes a hundredth of a second: a second in all
    url = endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(1000), probe=b"HTTP/1.1 200 OK\r\n\r\n")
    get(RemoteFile(remote.name, len(data), hashlib.sha256(data).hexdigest(), (url,), remote.mirror_path))
    assert (get.folder / "set.tar.gz").read_bytes() == data


def test_two_downloads_do_not_mix(get, server):
    get.folder.mkdir()
    with download._opened(get.folder / "set.tar.gz.part") as held:
        download._lock(held, get.folder / "set.tar.gz")
        with pytest.raises(MachineError, match="another process is downloading"):
            get()
    get()
    assert (get.folder / "set.tar.gz").read_bytes() == DATA


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
@pytest.mark.parametrize("there", [True, False])
def test_a_part_that_is_a_link_empties_no_file(get, tmp_path, there):
    get.folder.mkdir()
    own = tmp_path / "diary.txt"
    if there:
        own.write_text("mine")
    (get.folder / "set.tar.gz.part").symlink_to(own)
    with pytest.raises(MachineError, match=r"set\.tar\.gz\.part: it is a link, .* expected a file") as caught:
        get()
    assert (caught.value.exit_code, caught.value.hint) == (4, "Remove it")
    assert own.read_text() == "mine" if there else not own.exists()


def test_a_folder_below_a_file_is_an_error(remote, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match="cannot write"):
        fetch("set", remote, tmp_path / "file" / "below", offline=False, on_progress=lambda _: None)


def test_too_little_room_is_seen_before_the_first_byte(get, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: download.shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(MachineError, match="has 1 bytes free"):
        get()
