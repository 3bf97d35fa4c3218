"""The cache: nothing is decoded twice, nothing stale or damaged is ever served."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from cnnlab.data import cache, decoding, load, loading
from cnnlab.errors import DataError

COUNTS = {"train/a": 3, "train/b": 4, "test/a": 2, "test/b": 1}


@pytest.fixture
def decoded(monkeypatch):
    """How many pictures have been decoded so far."""
    names = []
    original = decoding._decode_one

    def counting(name, *rest):
        names.append(name)
        return original(name, *rest)

    monkeypatch.setattr(decoding, "_decode_one", counting)
    return names


def test_the_second_start_decodes_nothing(picture_folder, decoded):
    root = picture_folder(COUNTS)
    first = load(str(root))
    assert len(decoded) == 10
    second = load(str(root))
    assert len(decoded) == 10
    assert second.fingerprint == first.fingerprint
    assert (second.train.images == first.train.images).all()
    assert second.train.names == first.train.names
    assert second.test.labels.tolist() == first.test.labels.tolist()
    assert second.notices == first.notices


def test_a_copy_elsewhere_is_not_decoded_again_and_has_its_own_name(picture_folder, decoded, tmp_path):
    root = picture_folder(COUNTS)
    load(str(root))
    shutil.copytree(root, tmp_path / "copy")
    assert load(str(tmp_path / "copy")).name == "copy"
    assert len(decoded) == 10


@pytest.mark.parametrize("settled", [False, True])
def test_a_changed_file_is_never_served_stale(picture_folder, tmp_path, monkeypatch, settled):
    if settled:
        monkeypatch.setattr(cache, "_SETTLED_NS", -(10**18))  # as if the files were old: the quick key is used
    root = picture_folder(COUNTS)
    first = load(str(root))
    assert (tmp_path / "cache/listings").exists() == settled
    file = root / "train/a/0001.png"
    status, data = file.stat(), bytearray(file.read_bytes())
    donor = picture_folder({"x": 1}, tmp_path / "other")
    same_size = (donor / "x/0000.png").read_bytes()
    data[:] = same_size.ljust(len(data), b"\0")[: len(data)]
    time.sleep(0.02)
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # size and time are put back
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    if sys.platform == "win32" and settled:
        pytest.skip("Windows tells no time of change")
    assert load(str(root)).fingerprint != first.fingerprint


def test_added_removed_and_renamed_files_are_seen(picture_folder):
    root = picture_folder(COUNTS)
    load(str(root))
    (root / "train/a/0000.png").rename(root / "train/b/new.png")
    data = load(str(root))
    assert "train/b/new.png" in data.train.names
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1, 1, 1]
    (root / "train/b/new.png").unlink()
    assert len(load(str(root)).train) == 6


def flip_bit(data, at):
    data[at] ^= 1


DAMAGES = {
    "empty": lambda data: data.clear(),
    "cut": lambda data: data.__delitem__(slice(len(data) // 2, None)),
    "header": lambda data: flip_bit(data, 3),
    "described": lambda data: flip_bit(data, data.index(b"train/a/0001")),
    "pixel": lambda data: flip_bit(data, len(data) - 1),
    "longer": lambda data: data.extend(b"x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_built_again(picture_folder, decoded, tmp_path, damage):
    root = picture_folder(COUNTS)
    first = load(str(root))
    (file,) = (tmp_path / "cache/data").iterdir()
    data = bytearray(file.read_bytes())
    DAMAGES[damage](data)
    file.write_bytes(data)
    again = load(str(root))
    assert len(decoded) == 20
    assert again.fingerprint == first.fingerprint
    assert again.train.names == first.train.names
    load(str(root))
    assert len(decoded) == 20  # it was mended


def test_a_damaged_listing_is_not_trusted(picture_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_SETTLED_NS", -(10**18))
    root = picture_folder(COUNTS)
    first = load(str(root))
    (note,) = (tmp_path / "cache/listings").iterdir()
    whole = note.read_text()
    for text in ("", "\0" * 64, "ä", "x" * 64, whole[:-1], whole.replace(whole[0], "x")):
        note.write_text(text, "utf-8")
        assert load(str(root)).fingerprint == first.fingerprint
        assert note.read_text() == whole  # it was mended


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_cache_that_cannot_be_written_costs_time_only(picture_folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "file" / "cache"))
    data = load(str(picture_folder(COUNTS)))
    assert data.notices == (
        "the decoded pictures could not be kept in the cache (Not a directory): they are decoded again next time",
    )


def test_nothing_half_written_stays_in_the_cache(picture_folder, tmp_path, monkeypatch):
    import safetensors.numpy

    def full(arrays, file, metadata):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    data = load(str(picture_folder(COUNTS)))
    assert "No space left on device" in data.notices[0]
    assert list((tmp_path / "cache/data").iterdir()) == []


def test_files_that_change_while_they_are_read_are_refused(picture_folder, monkeypatch):
    root = picture_folder(COUNTS)
    original = loading.content_digest

    def then_change(*arguments):
        digest = original(*arguments)
        (root / "train/a/0000.png").write_bytes((root / "train/a/0001.png").read_bytes())
        return digest

    monkeypatch.setattr(loading, "content_digest", then_change)
    with pytest.raises(DataError, match="changed while they were read"):
        load(str(root))


def test_progress_of_decoding(picture_folder):
    events = []
    load(str(picture_folder({"train/a": 40, "train/b": 40, "test/a": 3, "test/b": 3})), on_progress=events.append)
    last = [event for event in events if event.task == "decoding pictures"][-1]
    assert (last.done, last.total, last.unit) == (86, 86, "images")


def test_two_processes_may_fill_the_cache_at_once(picture_folder):
    root = picture_folder({"train/a": 40, "train/b": 40})
    code = f"import json, cnnlab.data as d; print(json.dumps(d.load({str(root)!r}).fingerprint))"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)]
    assert len({json.loads(process.communicate()[0]) for process in running}) == 1
