"""Folders of pictures: what is found, what is left out, what is refused."""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import decoding, folders, load
from cnnlab.errors import DataError, MachineError

from .conftest import picture

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
needs_posix_names = pytest.mark.skipif(sys.platform != "linux", reason="this system's file names are Unicode")


def test_parts_classes_pixels_and_names(picture_folder):
    root = picture_folder({"train/dog": 3, "train/cat": 4, "val/dog": 2, "val/cat": 1, "test/dog": 2, "test/cat": 2})
    data = load(str(root))
    assert data.name == "pictures"
    assert data.requested == str(root)
    assert data.classes == ("cat", "dog")
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 7, "val": 3, "test": 4}
    assert data.train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert data.train.names[:2] == ["train/cat/0000.png", "train/cat/0001.png"]
    assert data.train.images.dtype == np.uint8
    assert data.train.images.flags.c_contiguous
    for name, image in zip(data.test.names, data.test.images, strict=True):
        assert (np.asarray(Image.open(root / name)) == image).all()
    assert data.flip
    assert data.notices == ()


def test_without_test_a_fifth_is_set_aside_whatever_the_seed(picture_folder):
    data = load(str(picture_folder({"train/a": 20, "train/b": 10})))
    assert (len(data.train), len(data.test), data.val) == (24, 6, None)
    assert np.bincount(data.test.labels).tolist() == [4, 2]
    assert not set(data.train.names) & set(data.test.names)
    assert data.notices == ("no test part: 6 of 30 pictures are set aside, the same for every seed",)


def test_chinese_names(picture_folder, tmp_path):
    data = load(str(picture_folder({"train/猫": 3, "train/狗": 3, "test/猫": 1, "test/狗": 1}, tmp_path / "图片 一")))
    assert data.name == "图片 一"
    assert data.classes == ("狗", "猫")
    assert data.train.names[0] == "train/狗/0000.png"


def test_a_composed_and_a_decomposed_name_are_one_class(picture_folder):
    data = load(str(picture_folder({"train/caf\u00e9": 2, "train/b": 2, "test/cafe\u0301": 1, "test/b": 1})))
    assert data.classes == ("b", "caf\u00e9")


@needs_posix_names
def test_names_that_are_no_utf8(picture_folder):
    root = picture_folder({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1})
    for part in ("train", "test"):
        (root / part / "a").rename(root / part / os.fsdecode(b"\xff\x1b[31m"))
    data = load(str(root))
    assert data.classes == ("\\udcff\\x1b[31m", "b")
    assert data.train.names[0] == "train/\\udcff\\x1b[31m/0000.png"
    assert load(str(root)).train.names == data.train.names  # from the cache


def test_clutter_is_passed_over_and_strangers_are_named(picture_folder):
    root = picture_folder({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1, "validation/a": 1})
    for name in (".DS_Store", "train/.DS_Store", "train/a/Thumbs.db", "train/a/._0000.png", "README.txt"):
        (root / name).write_text("x")
    for name in ("train/a/notes.txt", "train/a/png", "train/loose.png"):
        (root / name).write_text("x")
    data = load(str(root))
    assert len(data.train) == 4
    assert data.notices == (
        "not used, since parts are named train, val and test: validation",
        "ignored (not pictures in a class folder): 3 files (train/a/notes.txt, train/a/png, train/loose.png)",
    )
    assert load(str(root)).notices == data.notices


@needs_links
def test_links_out_and_loops_are_not_followed(picture_folder, tmp_path):
    root = picture_folder({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1})
    picture(99).save(tmp_path / "outside.png")
    (root / "train/a/outside.png").symlink_to(tmp_path / "outside.png")
    (root / "train/a/loop").symlink_to(root / "train")
    (root / "train/c").symlink_to(tmp_path)
    (root / "train/a/dangling.png").symlink_to(tmp_path / "nowhere.png")
    (root / "train/a/itself.png").symlink_to(root / "train/a/itself.png")
    picture(98).save(root / "kept.png")
    (root / "train/a/inside.png").symlink_to(root / "kept.png")
    data = load(str(root))
    assert data.classes == ("a", "b")
    assert [name for name in data.train.names if "side" in name] == ["train/a/inside.png"]
    (notice,) = data.notices
    assert notice == (
        "not followed, since leading to a folder, out of the data or nowhere: 5 symbolic links "
        "(train/a/dangling.png, train/a/itself.png, train/a/loop, train/a/outside.png, train/c)"
    )


@needs_links
def test_the_folder_itself_may_be_a_link(picture_folder, tmp_path):
    root = picture_folder({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1})
    (tmp_path / "link").symlink_to(root)
    assert len(load(str(tmp_path / "link")).train) == 4


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "holds no class folders"),
        ({"a": 2, "b": 2}, r"no train folder \(found: none of train, val and test\)"),
        ({"test/a": 2, "test/b": 2}, r"no train folder \(found: test\)"),
        ({"train": 0}, "no class folder in train"),
        ({"train/a": 3}, r"holds one class \(a\): expected at least two"),
        ({"train/a": 3, "train/b": 0}, "no pictures in 1 of the 2 class folders of train: b"),
        ({"train/a": 3, "train/b": 3, "test/a": 1}, "classes of train and test differ: b"),
        ({"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 1, "val/c": 1}, "classes of train and val differ: c"),
        ({"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 0}, "class folders of test: b"),
    ],
)
def test_layouts_that_are_refused(picture_folder, tmp_path, counts, message):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        load(str(picture_folder(counts)))
    assert "pictures" in caught.value.message
    assert caught.value.hint
    assert not (tmp_path / "cache").exists()


def test_sizes_that_differ_are_listed_with_the_way_out(picture_folder):
    root = picture_folder({"train/a": 3, "train/b": 2})
    picture_folder({"train/c": 2}, root, size=(20, 10))
    with pytest.raises(DataError, match=r"2 sizes \(width × height\): 8×8 \(5\), 20×10 \(2\); expected one") as caught:
        load(str(root))
    assert "--set data.image_size=32" in caught.value.hint
    data = load(str(root), image_size=6)
    assert data.image_shape == (6, 6, 3)
    assert any("resized to 6×6" in notice for notice in data.notices)


@pytest.mark.parametrize("upright", [False, True])
def test_resizing_keeps_the_centre_square(tmp_path, upright):
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = [250, 100, 50]
    image[:, :20] = 255
    for index, name in enumerate(("train/a", "train/b", "test/a", "test/b")):
        (tmp_path / "p" / name).mkdir(parents=True)
        image[0, 0] = index
        Image.fromarray(image.swapaxes(0, 1) if upright else image).save(tmp_path / "p" / name / "x.png")
    data = load(str(tmp_path / "p"), image_size=5, allow_duplicates=True)
    assert (data.train.images == [250, 100, 50]).all()


def test_gray_stays_gray_and_mixed_becomes_rgb(picture_folder, tmp_path):
    gray = picture_folder({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1}, tmp_path / "gray", gray=True)
    assert load(str(gray)).image_shape == (8, 8, 1)
    picture(50).save(gray / "train/b/colour.png")
    data = load(str(gray))
    assert data.image_shape == (8, 8, 3)
    assert (data.test.images[..., 0] == data.test.images[..., 2]).all()


def test_broken_pictures_are_all_listed(picture_folder, monkeypatch):
    root = picture_folder({"train/a": 12, "train/b": 4, "test/a": 1, "test/b": 1})
    (root / "train/b/0001.png").write_bytes((root / "train/b/0002.png").read_bytes()[:90])
    (root / "train/b/0003.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 18 pictures in .* cannot be read") as caught:
        load(str(root))
    assert "train/b/0001.png: the picture is damaged or cut short" in caught.value.message
    assert "train/b/0003.png: the picture is empty" in caught.value.message
    assert "--skip-bad" in caught.value.hint
    data = load(str(root), skip_bad=True)
    assert len(data.train) == 14
    assert data.notices == ("skipped as unreadable: 2 pictures (train/b/0001.png, train/b/0003.png)",)
    assert [name for name, _ in data.skipped] == ["train/b/0001.png", "train/b/0003.png"]
    assert "is empty" in data.skipped[1][1]
    assert load(str(root), skip_bad=True).skipped == data.skipped  # from the cache
    for index in range(11):
        (root / f"train/a/{index:04d}.png").write_bytes(b"x")
    with pytest.raises(DataError, match="13 of 18") as caught:
        load(str(root))
    assert caught.value.message.count("\n") == 13
    monkeypatch.setattr(decoding, "_SHOWN", 10)
    with pytest.raises(DataError, match="13 of 18") as caught:
        load(str(root))
    assert caught.value.message.endswith("and 3 more")
    assert caught.value.message.count("\n") == 11


def test_skipping_must_not_empty_a_class(picture_folder):
    root = picture_folder({"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 1})
    (root / "train/b/0000.png").write_bytes(b"x")
    with pytest.raises(DataError, match="no pictures in 1 of the 2 class folders of train: b"):
        load(str(root), skip_bad=True)


def test_duplicates_across_parts_are_counted_and_refused(picture_folder):
    root = picture_folder({"train/a": 9, "train/b": 9, "test/a": 5, "test/b": 5})
    for index in (0, 3):
        (root / f"test/b/000{index}.png").write_bytes((root / f"train/a/000{index}.png").read_bytes())
    with pytest.raises(DataError, match=r"copies in train and test: 2 pictures, 20\.0% of test, ") as caught:
        load(str(root))
    assert "--allow-duplicates" in caught.value.hint
    data = load(str(root), allow_duplicates=True)
    described = "2 pictures, 20.0% of test, 2 of them under another label (test/b/0000.png is train/a/0000.png, …)"
    assert data.notices == (f"copies in train and test: {described}",)


def test_a_copy_in_the_part_that_was_set_aside_is_told_as_such(picture_folder):
    root = picture_folder({"train/a": 9, "train/b": 9})
    for index in range(9):
        (root / f"train/b/1{index}.png").write_bytes((root / f"train/a/000{index}.png").read_bytes())
    with pytest.raises(DataError, match=r"of test, which was set aside from train, \d of them under another") as caught:
        load(str(root))
    found = re.search(r"\(train/(.)/.*?(\d)\.png is train/(.)/.*?(\d)\.png", caught.value.message)
    assert found is not None
    assert (found[1] != found[3], found[2]) == (True, found[4])


def test_copies_within_train_are_told(picture_folder):
    root = picture_folder({"train/a": 9, "train/b": 9, "test/a": 2, "test/b": 2})
    for name in ("copy1", "copy2"):
        (root / f"train/b/{name}.png").write_bytes((root / "train/a/0000.png").read_bytes())
    notice = "copies within train: 2 pictures; a validation part split off may hold some of them"
    torn = "the same picture under two labels in train: 1 picture (train/a/0000.png is train/b/copy1.png)"
    assert load(str(root)).notices == (notice, torn)
    for part in ("a", "b"):
        shutil.copytree(root / "test" / part, root / "val" / part)
        (root / "val" / part / "0001.png").unlink()
        (root / "test" / part / "0000.png").unlink()
    assert load(str(root)).notices == (torn,)  # nothing is split off


def test_more_than_the_memory_is_refused_early(picture_folder, monkeypatch):
    root = picture_folder({"train/a": 50, "train/b": 50})  # 100 pictures of 192 bytes
    monkeypatch.setattr(decoding, "physical_memory", lambda: 19_199)
    with pytest.raises(MachineError, match=r"need 0\.0 GiB or more") as caught:
        load(str(root))
    assert "data.image_size" in caught.value.hint
    monkeypatch.setattr(decoding, "physical_memory", lambda: 19_200)
    assert len(load(str(root)).train) == 80


def test_pictures_are_read_by_the_cores_of_this_process_alone(picture_folder, monkeypatch):
    root, pools = picture_folder({"train/a": 5, "train/b": 5}), []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers, **names):
            pools.append(workers)
            super().__init__(workers, **names)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    for module in (decoding, folders):
        monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)
    load(str(root))
    assert pools == [3, 3]  # to take their hashes, and to decode them


def test_a_class_with_one_training_picture_is_told(picture_folder):
    data = load(str(picture_folder({"train/a": 4, "train/b": 1, "test/a": 1, "test/b": 1})))
    assert data.notices == ("one training picture only, none for validation: 1 class (b)",)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read_is_the_machines_fault(picture_folder):
    root = picture_folder({"train/a": 2, "train/b": 2})
    (root / "train/a/0000.png").chmod(0)
    with pytest.raises(MachineError, match="cannot read"):
        load(str(root))
