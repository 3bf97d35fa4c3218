"""Bad data as a person meets it at the command line: the exit code, a clear text, nothing left behind."""

import time

import pytest

from .conftest import picture


def refused(cli, own_world, *arguments):
    """Run train; what it said, after checking that it left nothing behind and printed no traceback."""
    ended = cli("train", "--arch", "mlp", "--epochs", 1, *arguments)
    assert [entry.name for entry in own_world.iterdir()] == []
    assert "Traceback" not in ended.err
    return ended


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "cifr10"], 2, "Did you mean cifar10"),
        (["--data", "no/such/folder"], 2, "no data set and no file is named 'no/such/folder'"),
        (["--set", "data.name=minst"], 2, "Did you mean mnist"),
        (["--data", "digits", "--batch-size", "100000"], 2, "batch_size"),
        (["--data", "cifar10", "--offline"], 4, "no network was asked"),
    ],
)
def test_names(cli, own_world, arguments, code, message):
    ended = refused(cli, own_world, *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err


def test_no_network_with_a_named_set(cli, own_world, tmp_path):
    started = time.monotonic()
    ended = refused(cli, own_world, "--data", "cifar10", "--json")
    assert time.monotonic() - started < 10
    assert ended.code == 4
    error = ended.json["error"]
    assert error["code"] == 4
    assert error["kind"] == "environment"
    for told in ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "6d958be0", str(tmp_path)):
        assert told in error["hint"]


def broken(root):
    (root / "train/b/0001.png").write_bytes(b"\x89PNG\r\n\x1a\n")


def other_size(root):
    picture(1000, (9, 8)).save(root / "train/b/other.png")


@pytest.mark.parametrize(
    ("counts", "change", "message"),
    [
        ({}, None, "holds no class folders"),
        ({"train/only": 5}, None, "holds one class (only)"),
        ({"train/a": 5, "train/b": 5}, broken, "train/b/0001.png: "),
        ({"train/a": 5, "train/b": 5}, other_size, "2 sizes (width × height): 8×8 (10), 9×8 (1)"),
        ({"train/a": 5, "train/b": 5, "test/a": 2}, None, "classes of train and test differ: b"),
    ],
)
def test_folders(cli, own_world, tmp_path, picture_folder, counts, change, message):
    (tmp_path / "pictures").mkdir()
    root = picture_folder(counts)
    if change:
        change(root)
    ended = refused(cli, own_world, "--data", root)
    assert (ended.code, ended.out) == (3, "")
    assert message in ended.err


@pytest.mark.parametrize(
    ("damage", "code", "message"), [("cut", 4, "cut short after 1,000 of"), ("wrong", 3, "expected SHA-256")]
)
def test_downloads(cli, own_world, tmp_path, server, small_cifar, damage, code, message):
    if damage == "cut":
        server.cut, server.ranges = 1000, False
    else:
        server.files["/cifar-10-python.tar.gz"] = small_cifar[:-1] + b"x"
    ended = refused(cli, own_world, "--data", "cifar10", "--data-dir", tmp_path / "sets")
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert server.url in ended.err
    left = [file.name for file in (tmp_path / "sets").iterdir()]
    assert left == (["cifar-10-python.tar.gz.part"] if damage == "cut" else [])
