"""digits, IDX and CIFAR: read as their authors meant them, refused where they are damaged or hostile."""

import gzip
import importlib.util
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnnlab.data import cifar, digits
from cnnlab.data.idx import find_idx, read_idx, read_parts
from cnnlab.errors import DataError

from .conftest import CIFAR_CLASSES, cifar_archive, cifar_batch, cifar_files, idx, idx_files, py2_pickle

# --- digits


def test_digits_equal_scikit_learns():
    ours, theirs = digits.read_digits(), load_digits()
    assert ours.images.shape == (1797, 8, 8, 1)
    assert (ours.images[..., 0] == np.rint(theirs.images * 255 / 16)).all()
    assert (ours.labels == theirs.target).all()
    assert ours.images.max() == 255


def test_digits_ask_scikit_learn_where_the_file_has_moved(monkeypatch):
    expected = digits.read_digits()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    moved = digits.read_digits()
    assert (moved.images == expected.images).all()
    assert (moved.labels == expected.labels).all()


# --- IDX


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_idx_plain_and_gzipped_are_equal(tmp_path):
    packed = write(tmp_path / "packed", idx_files())
    plain = write(tmp_path / "plain", {name[:-3]: gzip.decompress(data) for name, data in idx_files().items()})
    for first, second in zip(read_parts(find_idx(packed), 10), read_parts(find_idx(plain), 10), strict=True):
        assert (first.images == second.images).all()
        assert first.images.shape[1:] == (28, 28, 1)
        assert (first.labels == second.labels).all()


def test_idx_needs_all_four_files(tmp_path):
    files = idx_files()
    del files["t10k-labels-idx1-ubyte.gz"]
    assert find_idx(write(tmp_path, files)) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no IDX file"),
        (b"<html>not found</html>", "is no IDX file"),
        (idx(np.zeros((2, 2, 2)))[:-1], "declares 8 bytes, it holds 7"),
        (idx(np.zeros((2, 2, 2))) + b"x", "declares 8 bytes, it holds 9"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "declares 79228162458924105385300197375 bytes"),
        (idx(np.zeros((0, 2, 2))), "declares 0 bytes"),
        (idx(np.zeros(4)), "is no IDX file of unsigned bytes with 3 dimensions"),
        (bytes([0, 0, 13, 3]) + bytes(12), "is no IDX file of unsigned bytes"),
    ],
)
def test_damaged_idx_is_refused(tmp_path, data, message):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "x", 3)


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:40] + b"\0" * 8 + data[48:]])
def test_damaged_gzip_is_refused(tmp_path, damage):
    (tmp_path / "x.gz").write_bytes(damage(gzip.compress(idx(np.random.default_rng(0).integers(0, 256, (4, 9, 9))))))
    with pytest.raises(DataError, match="cut short or damaged"):
        read_idx(tmp_path / "x.gz", 3)


@pytest.mark.parametrize(
    ("shape", "name", "message"),
    [
        ((1 << 18, 16, 16), "x.gz", "no pictures shrink so much"),
        ((1 << 23, 1, 1), "x.gz", "declares 8,388,608 items, at most 2,000,000 are read"),
        ((1 << 23,), "x", "declares 8,388,608 items, at most 2,000,000 are read"),
    ],
)
def test_idx_that_would_fill_the_memory_is_refused(tmp_path, shape, name, message):
    zeros = idx(np.zeros(shape, np.uint8))
    (tmp_path / name).write_bytes(gzip.compress(zeros) if name.endswith(".gz") else zeros)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / name, len(shape))


def test_idx_partners_must_agree(tmp_path):
    files = idx_files()
    files["t10k-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.zeros(19)))
    with pytest.raises(DataError, match=r"holds 20 images, t10k-labels-idx1-ubyte\.gz 19 labels"):
        read_parts(find_idx(write(tmp_path, files)), 10)
    files["t10k-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.full(20, 10)))
    with pytest.raises(DataError, match="expected labels 0 to 9, received 10"):
        read_parts(find_idx(write(tmp_path, files)), 10)


# --- CIFAR


def silent(_):
    """Progress is of no interest here."""


def test_cifar_pixels_and_labels_as_published(tmp_path):
    folder = write(tmp_path / "cifar-10-batches-py", cifar_files(7))
    assert cifar.batches_in(folder) == "cifar10"
    classes, train, test = cifar.read_batches(folder, "cifar10", silent)
    assert classes == tuple(CIFAR_CLASSES)
    assert train.images.shape == (35, 32, 32, 3)
    assert test.images.shape == (7, 32, 32, 3)
    assert train.images.flags.c_contiguous
    # A row is 1,024 red, 1,024 green, 1,024 blue values, each row by row.
    row = cifar_batch(7, 2)["data"][3]
    assert (train.images[7 + 3] == row.reshape(3, 32, 32).transpose(1, 2, 0)).all()
    assert train.labels[:9].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_cifar_archive_and_folder_are_equal(tmp_path):
    folder = write(tmp_path / "unpacked", cifar_files())
    (tmp_path / "packed.tar.gz").write_bytes(cifar_archive(cifar_files()))
    assert cifar.set_in_archive(tmp_path / "packed.tar.gz") == "cifar10"
    _, train, test = cifar.read_batches(folder, "cifar10", silent)
    _, train2, test2 = cifar.read_archive(tmp_path / "packed.tar.gz", "cifar10", silent)
    assert (train.images == train2.images).all()
    assert (test.labels == test2.labels).all()


def test_cifar100_takes_the_fine_labels(tmp_path):
    names = [f"class {index}" for index in range(100)]
    files = {
        part: py2_pickle({**cifar_batch(120, 1, "fine_labels", 100), "coarse_labels": [0] * 120})
        for part in ("train", "test")
    }
    folder = write(tmp_path, files | {"meta": py2_pickle({"fine_label_names": names, "coarse_label_names": ["x"]})})
    assert cifar.batches_in(folder) == "cifar100"
    classes, train, _ = cifar.read_batches(folder, "cifar100", silent)
    assert classes == tuple(names)
    assert train.labels[[0, 99, 100]].tolist() == [0, 99, 0]


def test_batches_pickled_by_python_3_are_read_too():
    batch = cifar_batch(5, 0)
    read = cifar.unpickle(pickle.dumps(batch, protocol=4), "x")
    assert (read["data"].array("x") == batch["data"]).all()


class Run:
    """What a hostile pickle does: calls something."""

    def __reduce__(self):
        return (subprocess.run, (["touch", "pwned"],))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps({"data": Run()}, protocol=4), "it names subprocess.run"),
        (b"\x80\x02cposix\nsystem\n(Vtouch pwned\ntR.", "which no such batch does"),
        (b"\x80\x02cnumpy\nload\n(U\x01xtR.", "it names numpy.load"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "memo is too large"),
        (b"\x80\x02(inumpy\nndarray\n.", "it uses INST"),
        # Keys of one hash: a dict of them takes the square of their count to fill.
        (pickle.dumps({2 * (2**61 - 1): None}, protocol=2), "a number larger than any"),
        (b"\x80\x02](" + b"N" * 1_100_000 + b"e.", "more parts than any"),
        (b"", "is not a batch"),
        (b"\x80\x02", "is not a batch"),
        (b"<html>", "is not a batch"),
        (py2_pickle([1, 2]), "expected a dict, received list"),
        (pickle.dumps({"data": np.zeros(3, object)}, protocol=2), "is not a batch"),
        (pickle.dumps({"data": np.zeros((2, 3072))}, protocol=2), "is not a batch"),
    ],
)
def test_hostile_and_damaged_pickles_execute_nothing(data, message, own_world):
    with pytest.raises(DataError, match=message):
        cifar.unpickle(data, "x")
    assert list(own_world.iterdir()) == []


def test_every_cut_of_a_batch_is_refused_with_one_error():
    whole = py2_pickle(cifar_batch(1, 0))
    for length in [*range(0, 200, 7), len(whole) // 2, len(whole) - 1]:
        with pytest.raises(DataError, match="is not a batch of CIFAR"):
            cifar.unpickle(whole[:length], "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1, 10]}, "expected labels 0 to 9"),
        ({"labels": [0, 1]}, r"expected one row of 3072 bytes a label, received \(3, 3072\) for 2"),
        ({"labels": [0, 1, "2"]}, "expected labels 0 to 9"),
        ({"labels": None}, "lacks 'labels'"),
        ({"data": 5}, "lacks 'data'"),
        ({"data": np.zeros((3, 100), np.uint8)}, "expected one row of 3072 bytes"),
    ],
)
def test_batches_that_do_not_fit_are_refused(tmp_path, change, message):
    files = cifar_files(3) | {"data_batch_3": py2_pickle(cifar_batch(3, 0) | change)}
    with pytest.raises(DataError, match=message):
        cifar.read_batches(write(tmp_path, files), "cifar10", silent)


def test_an_archive_without_a_batch_is_refused(tmp_path):
    files = cifar_files(3)
    del files["data_batch_4"], files["batches.meta"]
    (tmp_path / "c.tar.gz").write_bytes(cifar_archive(files))
    with pytest.raises(DataError, match=r"lacks batches\.meta, data_batch_4"):
        cifar.read_archive(tmp_path / "c.tar.gz", "cifar10", silent)


def test_reading_data_imports_nothing_heavy():
    code = (
        "import sys, cnnlab.data as d; d.load('digits');"
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'pydantic', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
