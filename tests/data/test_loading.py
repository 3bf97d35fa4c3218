"""What `--data` names, where it is looked for, what stands in for it, and what is kept."""

import gzip
import time

import numpy as np
import pytest

from cnnlab.data import DATASETS, load, standard
from cnnlab.data.download import Unavailable
from cnnlab.errors import DataError, MachineError, UsageError

from .conftest import CIFAR_CLASSES, cifar_archive, cifar_files, idx, idx_files
from .test_formats import write

# --- names


def test_every_name_has_a_description_and_a_way_to_be_had():
    assert list(DATASETS) == ["cifar10", "cifar100", "mnist", "fashion-mnist", "digits"]
    for name, entry in standard.STANDARD.items():
        assert entry.name == name
        assert DATASETS[name] == entry.description
        for file in entry.files:
            assert len(file.sha256) == 64
            assert file.size > 0
            assert all(url.startswith("https://") and url.endswith(file.name) for url in file.sources)
        assert (name == "digits") == (not entry.files)


def test_a_description_says_the_size_of_the_download_in_megabytes():
    for entry in standard.STANDARD.values():
        if entry.files:
            megabytes = sum(file.size for file in entry.files) / 1e6
            assert entry.description.endswith(f"({megabytes:.0f} MB)"), entry.name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifr10", "Did you mean cifar10"),
        ("MNIST", "Did you mean mnist"),
        ("imagenet", "Valid: cifar10, cifar100, digits, fashion-mnist, mnist"),
        ("../pictures", "Check the spelling and the current folder"),
        ("pictures.zip", "Check the spelling"),
        ("", "Valid: cifar10"),
        ("x" * 5000, "Valid"),
        ("a\0b", "Valid"),
        ("~nobody-at-all/x", "Check the spelling"),
        ("\x1b[31m", "Valid"),
    ],
)
def test_unknown_names_are_refused(name, hint):
    with pytest.raises(UsageError, match="no data set and no file is named") as caught:
        load(name)
    assert hint in caught.value.hint
    assert "\x1b" not in caught.value.message
    assert caught.value.exit_code == 2


def test_a_name_wins_over_a_folder_of_that_name(picture_folder, own_world):
    picture_folder({"train/a": 2, "train/b": 2}, own_world / "digits")
    assert len(load("digits").train) == 1437
    assert len(load("./digits").train) == 3


# --- digits and the fallback


def test_digits():
    data = load("digits")
    assert (len(data.train), len(data.test), data.val) == (1437, 360, None)
    assert data.image_shape == (8, 8, 1)
    assert (data.name, data.requested, data.fallback, data.flip) == ("digits", "digits", False, False)
    shares = np.bincount(data.test.labels) / np.bincount(np.concatenate([data.train.labels, data.test.labels]))
    assert (abs(shares - 0.2) < 0.01).all()
    assert load("digits").fingerprint == data.fingerprint


def test_digits_stand_in_for_cifar_where_nothing_was_named():
    started = time.monotonic()
    data = load(None)
    assert time.monotonic() - started < 10
    assert (data.name, data.requested, data.fallback) == ("digits", "cifar10", True)
    assert data.notices[0].startswith("cifar10 is not on this disk, and no source answered within 5 s")
    assert len(data.train) == 1437


def test_offline_falls_back_without_asking():
    data = load(None, offline=True)
    assert data.fallback
    assert "no network was asked" in data.notices[0]


def test_the_fallback_can_be_forbidden(monkeypatch):
    monkeypatch.setenv("CNNLAB_NO_FALLBACK", "1")
    with pytest.raises(Unavailable, match="cifar10 is not on this disk"):
        load(None, offline=True)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion-mnist"])
def test_named_data_is_never_swapped(name, own_world, tmp_path):
    started = time.monotonic()
    with pytest.raises(MachineError, match=f"{name} is not on this disk") as caught:
        load(name)
    assert time.monotonic() - started < 10
    file = standard.STANDARD[name].files[0]
    for told in (file.name, file.sha256, f"{file.size:,}", file.sources[0], str(tmp_path / "cache" / "downloads")):
        assert told in caught.value.hint
    assert caught.value.exit_code == 4
    assert list(own_world.iterdir()) == []
    assert not (tmp_path / "cache").exists()


def test_a_download_that_is_cut_is_an_error_not_a_fallback(server, small_cifar):
    server.cut, server.ranges = 1000, False
    with pytest.raises(MachineError, match="cut short") as caught:
        load(None)
    assert not isinstance(caught.value, Unavailable)


# --- CIFAR


def test_cifar_is_downloaded_once_and_found_again(server, small_cifar, tmp_path, monkeypatch):
    data = load(None)
    assert (data.name, data.fallback, data.requested) == ("cifar10", False, "cifar10")
    assert data.classes == tuple(CIFAR_CLASSES)
    assert (len(data.train), len(data.test)) == (100, 20)
    assert data.notices == ()
    assert (tmp_path / "cache/downloads/cifar-10-python.tar.gz").read_bytes() == small_cifar
    server.requests.clear()
    other = tmp_path / "elsewhere"
    other.mkdir()
    monkeypatch.chdir(other)
    assert load("cifar10", offline=True).fingerprint == data.fingerprint
    assert server.requests == []
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("where", ["flag", "environment", "data"])
def test_what_torchvision_left_is_found(where, tmp_path, own_world, monkeypatch, small_cifar):
    folder = own_world / "data" if where == "data" else tmp_path / "sets"
    write(folder / "cifar-10-batches-py", cifar_files())
    if where == "environment":
        monkeypatch.setenv("CNNLAB_DATA", str(folder))
    data = load("cifar10", offline=True, data_dir=folder if where == "flag" else None)
    assert len(data.train) == 100
    assert data.name == "cifar10"


def test_downloads_go_where_they_are_told(server, small_cifar, tmp_path, monkeypatch):
    load("cifar10", data_dir=tmp_path / "flag")
    assert [file.name for file in (tmp_path / "flag").iterdir()] == ["cifar-10-python.tar.gz"]
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "environment"))
    load("cifar10")
    assert [file.name for file in (tmp_path / "environment").iterdir()] == ["cifar-10-python.tar.gz"]


def test_an_archive_that_is_not_the_published_one_is_refused_by_name_only(small_cifar, tmp_path):
    folder = tmp_path / "sets"
    folder.mkdir()
    file = folder / "cifar-10-python.tar.gz"
    file.write_bytes(cifar_archive(cifar_files(4)))
    with pytest.raises(DataError, match="is not the published cifar10: expected SHA-256") as caught:
        load("cifar10", data_dir=folder)
    assert f"--data {file}" in caught.value.hint
    data = load(str(file))
    assert (data.name, len(data.train), data.requested) == ("cifar10", 20, str(file))
    assert "not the published cifar10: 20 + 4 pictures for train and test, expected 100 + 20" in data.notices[0]


def test_the_archive_and_its_folder_may_be_named(small_cifar, tmp_path):
    (tmp_path / "my.tar.gz").write_bytes(small_cifar)
    folder = write(tmp_path / "unpacked", cifar_files())
    assert load(str(tmp_path / "my.tar.gz")).fingerprint == load(str(folder)).fingerprint


def test_cifars_own_duplicates_are_told_not_refused(server, small_cifar, tmp_path):
    files = cifar_files()
    files["test_batch"] = files["data_batch_2"]
    folder = write(tmp_path / "sets" / "cifar-10-batches-py", files)
    data = load("cifar10", data_dir=folder.parent)
    assert data.notices == ("copies in train and test: 20 pictures, 100.0% of test",)


# --- MNIST and Fashion-MNIST


def test_what_the_system_installed_is_found(tmp_path, monkeypatch):
    write(tmp_path / "share/datasets/fashion-mnist", idx_files())
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    data = load("fashion-mnist", offline=True)
    assert data.classes[9] == "Ankle boot"
    assert data.image_shape == (28, 28, 1)
    assert data.flip
    assert "40 + 20 pictures for train and test, expected 60,000 + 10,000" in data.notices[0]
    with pytest.raises(Unavailable):
        load("mnist", offline=True)  # same file names, another set


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")])
def test_torchvisions_idx_folders_are_found_and_kept_apart(name, folder, own_world):
    write(own_world / "data" / folder, idx_files())
    assert len(load(name, offline=True).train) == 40
    with pytest.raises(Unavailable):
        load({"mnist": "fashion-mnist", "fashion-mnist": "mnist"}[name], offline=True)


def test_idx_files_come_from_a_mirror(server, tmp_path, monkeypatch):
    import hashlib
    from dataclasses import replace

    files = idx_files()
    server.files |= {f"/m/mnist/{name}": data for name, data in files.items()}
    monkeypatch.setenv("CNNLAB_MIRROR", f"{server.url}/m")
    remotes = tuple(
        replace(file, size=len(files[file.name]), sha256=hashlib.sha256(files[file.name]).hexdigest(), sources=())
        for file in standard.STANDARD["mnist"].files
    )
    small = replace(standard.STANDARD["mnist"], files=remotes, images=(40, 20))
    monkeypatch.setitem(standard.STANDARD, "mnist", small)
    data = load("mnist", data_dir=tmp_path / "sets")
    assert (len(data.train), len(data.test), data.flip) == (40, 20, False)
    assert sorted(path.name for path in (tmp_path / "sets/MNIST/raw").iterdir()) == sorted(files)


def test_named_sets_are_resized_too(tmp_path, monkeypatch):
    images = np.arange(28 * 28).reshape(1, 28, 28).repeat(40, axis=0) // 4
    files = idx_files() | {"train-images-idx3-ubyte.gz": gzip.compress(idx(images))}
    write(tmp_path / "sets/MNIST/raw", files)
    data = load("mnist", data_dir=tmp_path / "sets", image_size=32)
    assert data.train.images.shape == (40, 32, 32, 1)
    assert abs(int(data.train.images[0].mean()) - images[0].mean()) < 2
    assert "pictures are resized to 32×32 (Lanczos)" in data.notices
    assert load("digits", image_size=28).image_shape == (28, 28, 1)


@pytest.mark.parametrize(("train", "test"), [(28, 20), (20, 28)])
def test_parts_of_different_sizes_are_refused_unless_resized(tmp_path, train, test):
    rng = np.random.default_rng(0)
    images = {
        f"{part}-images-idx3-ubyte.gz": gzip.compress(idx(rng.integers(0, 256, (20, size, size))))
        for part, size in (("train", train), ("t10k", test))
    }
    write(tmp_path / "sets/mnist", idx_files(20) | images)
    with pytest.raises(DataError, match=f"several sizes .*: {train}×{train} in train, {test}×{test} in test") as caught:
        load("mnist", data_dir=tmp_path / "sets")
    assert "--set data.image_size" in caught.value.hint
    data = load("mnist", data_dir=tmp_path / "sets", image_size=28)
    assert {part.images.shape[1:] for part in data.parts.values()} == {(28, 28, 1)}


# --- the fingerprint


def test_the_fingerprint_sees_every_pixel_label_and_class():
    from cnnlab.data.dataset import Part, fingerprint

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (6, 4, 4, 1), dtype=np.uint8), np.arange(6) % 2
    first = fingerprint(("a", "b"), Part(images[:4], labels[:4]), None, Part(images[4:], labels[4:]))
    changed, relabelled = images.copy(), labels.copy()
    changed[5, 3, 3, 0] ^= 1
    relabelled[0] ^= 1
    others = {
        fingerprint(("a", "c"), Part(images[:4], labels[:4]), None, Part(images[4:], labels[4:])),
        fingerprint(("a", "b"), Part(changed[:4], labels[:4]), None, Part(changed[4:], labels[4:])),
        fingerprint(("a", "b"), Part(images[:4], relabelled[:4]), None, Part(images[4:], relabelled[4:])),
        fingerprint(("a", "b"), Part(images[:3], labels[:3]), None, Part(images[3:], labels[3:])),
        fingerprint(
            ("a", "b"), Part(images[:3], labels[:3]), Part(images[3:4], labels[3:4]), Part(images[4:], labels[4:])
        ),
    }
    assert len(others | {first}) == 6
