"""Data sets from strangers: bombs, links, names, lies about sizes; and what data honesty says before training."""

import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.imaging.pictures import read_picture

pytestmark = pytest.mark.faults

TRAIN = ("train", "--arch", "mlp:width=4,depth=1", "--epochs", 1, "--batch-size", 4)
needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")


def peak_kib() -> int:
    """The most memory that this process has had, in KiB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def png(seed: int, side: int = 8) -> bytes:
    with io.BytesIO() as file:
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()


@pytest.fixture
def folder(tmp_path) -> Path:
    """train/{a,b} of ten pictures each, test/{a,b} of three."""
    root, seed = tmp_path / "photos", 0
    for part, count in (("train", 10), ("test", 3)):
        for label in "ab":
            (root / part / label).mkdir(parents=True)
            for index in range(count):
                seed += 1
                (root / part / label / f"{index}.png").write_bytes(png(seed))
    return root


def refused(cli, own_world, *arguments, code=3) -> str:
    """Train; the error's text, after checking the exit code and that nothing was left behind."""
    ended = cli(*TRAIN, *arguments)
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert list(own_world.iterdir()) == []
    assert "Traceback" not in ended.err
    return ended.err


def zip_bomb(file: Path, members: int, size: int) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(members):
            with archive.open(f"train/{'ab'[index % 2]}/{index}.png", "w") as member:
                for _ in range(size >> 20):
                    member.write(bytes(1 << 20))
    return file


def tar_bomb(file: Path, members: int, size: int) -> Path:
    """A .tar.gz of one deflated block repeated: gzip streams may be strung together."""
    block = gzip.compress(bytes(size))
    with file.open("wb") as packed:
        for index in range(members):
            header = tarfile.TarInfo(f"train/{'ab'[index % 2]}/{index}.png")
            header.size = size
            packed.write(gzip.compress(header.tobuf()) + block)
    return file


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A whole, valid picture of zeros."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("63 KB that unpack to 64 MB.zip", lambda file: zip_bomb(file, 1, 64 << 20)),
        ("240 MB by eight.zip", lambda file: zip_bomb(file, 8, 30 << 20)),
        ("10 GB.tar.gz", lambda file: tar_bomb(file, 160, 64 << 20)),
    ],
)
def test_an_archive_bomb_is_refused_before_it_unfolds(cli, own_world, tmp_path, name, make):
    import torch  # noqa: F401  # its memory is not the bomb's

    file = make(tmp_path / name)
    before = peak_kib()
    assert "no pictures shrink so much" in refused(cli, own_world, "--data", file).replace("\n", " ")
    assert peak_kib() - before < 200_000


def test_a_zip_whose_dictionary_would_fill_the_memory_is_refused(cli, own_world, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("train/a/0.png", png(0))
    assert "compression method 14" in refused(cli, own_world, "--data", tmp_path / "x.zip")


def test_a_picture_bomb_is_named_among_the_broken_ones(cli, own_world, folder):
    (folder / "train/a/bomb.png").write_bytes(png_bomb(12_000, 9_000))
    assert "train/a/bomb.png: the picture declares 12,000×9,000 pixels: at most 100,000,000" in " ".join(
        refused(cli, own_world, "--data", folder, "--set", "data.image_size=8").split()
    )


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its memory")
def test_many_large_pictures_take_one_place_in_memory(tmp_path):
    """Eight valid pictures of 80 megapixels each, 240 MB decoded, on as many threads as there are."""
    bomb = png_bomb(10_000, 8_000)
    for index in range(8):
        folder = tmp_path / "train" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.png").write_bytes(bomb)
    code = (
        "import sys; from cnnlab.data import load\n"
        "load(sys.argv[1], image_size=8, allow_duplicates=True)\n"
        # Not ru_maxrss: a process takes over that of the one that started it.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    environment = {**os.environ, "CNNLAB_CACHE": str(tmp_path / "cache")}
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 1_000_000  # KiB


def tiff_of_tags(extra: int, size: int) -> bytes:
    """A gray picture of one pixel with `extra` tags more, each of which says to be the same `size` bytes."""
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    data = 10 + 12 * (len(tags) + extra) + 4
    entries += [struct.pack("<HHII", 40_000 + index, 7, size, data) for index in range(extra)]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4) + bytes(size)


@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_tags_that_share_their_bytes_do_not_multiply_in_memory(tmp_path, kind):
    """300 KB that would be 2 GB: of a TIFF, and of the EXIF data in a PNG, which are a TIFF of their own."""
    bomb, file = tiff_of_tags(20_000, 100_000), tmp_path / f"bomb.{kind}"
    whole = png(0)
    file.write_bytes(bomb if kind == "tiff" else whole[:33] + chunk(b"eXIf", bomb) + whole[33:])
    tracemalloc.start()
    try:
        with warnings.catch_warnings(action="ignore"):
            picture = read_picture(file)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert picture.pixels.shape == ((1, 1, 1) if kind == "tiff" else (8, 8, 3))


def test_a_foreign_format_behind_a_known_ending_is_not_opened(cli, own_world, folder):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(executed) (w) file closefile showpage\n"
    foreign = {"eps.png": eps, "pdf.jpg": b"%PDF-1.7\n", "gif.png": b"GIF89a" + bytes(40), "svg.bmp": b"<svg/>",
               "psd.tiff": b"8BPS" + bytes(60), "ico.bmp": b"\0\0\1\0" + bytes(60)}  # fmt: skip
    for name, data in foreign.items():
        (folder / "train/a" / name).write_bytes(data)
    told = refused(cli, own_world, "--data", folder)
    assert f"{len(foreign)} of {26 + len(foreign)} pictures" in told
    for name in foreign:
        assert f"train/a/{name}: the picture is not a picture of a known format" in told


def test_all_broken_pictures_are_listed_and_skip_bad_records_them(cli, own_world, folder):
    whole = (folder / "train/a/0.png").read_bytes()
    for index in range(8):
        (folder / f"train/b/{index}.png").write_bytes(whole[: 10 + 5 * index])
    told = refused(cli, own_world, "--data", folder)
    assert all(f"train/b/{index}.png: " in told for index in range(8))
    assert "--skip-bad" in told
    ended = cli(*TRAIN, "--data", folder, "--skip-bad", "--name", "x", "--set", "data.val_fraction=0.2")
    assert ended.code == 0, ended.err
    assert "skipped as unreadable: 8 pictures (train/b/0.png" in ended.out.replace("\n", " ")
    skipped = json.loads(Path("runs/x/environment.json").read_text("utf-8"))["data"]["skipped"]
    assert [row["image"] for row in skipped] == [f"train/b/{index}.png" for index in range(8)]
    assert all(row["problem"] for row in skipped)


@needs_links
def test_links_out_and_loops_are_said_and_not_followed(cli, own_world, folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(png(99))
    (folder / "train/a/secret.png").symlink_to(tmp_path / "secret.png")
    (folder / "train/a/loop").symlink_to(folder)
    (folder / "train/again").symlink_to(folder / "train", target_is_directory=True)
    ended = cli(*TRAIN, "--data", folder)
    assert ended.code == 0, ended.err
    assert "not followed, since leading to a folder, out of the data or nowhere: 3 symbolic links" in " ".join(
        ended.out.split()
    )


@needs_links
def test_links_among_pictures_to_classify_are_said_and_not_followed(cli, digits_run, tmp_path):
    (tmp_path / "secret.png").write_bytes(png(99))
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "own.png").write_bytes(png(1))
    (inbox / "secret.png").symlink_to(tmp_path / "secret.png")
    (inbox / "loop").symlink_to(inbox)
    ended = cli("evaluate", digits_run, inbox)
    assert ended.code == 0, ended.err
    assert "1 symbolic link" in " ".join(ended.out.split())
    ended = cli("evaluate", digits_run, inbox, "--json")
    assert [Path(found["image"]).name for found in ended.json["predictions"]] == ["own.png"]


def idx_file(shape: tuple[int, ...], held: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape) + bytes(held)


@pytest.mark.parametrize(
    ("shape", "held"),
    [((2**32 - 1, 2**32 - 1, 2**32 - 1), 10), ((60_000, 28, 28), 100), ((10, 28, 28), 1 << 26), ((0, 28, 28), 0)],
)
def test_idx_files_that_lie_about_their_size(cli, own_world, tmp_path, shape, held):
    place = tmp_path / "sets" / "MNIST" / "raw"
    place.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        dimensions = shape if "images" in name else (10,)
        data = idx_file(dimensions, held if "images" in name else 10)
        (place / f"{name}-ubyte.gz").write_bytes(gzip.compress(data))
    before = peak_kib()
    told = refused(cli, own_world, "--data", "mnist", "--data-dir", tmp_path / "sets")
    assert "damaged" in told
    assert peak_kib() - before < 200_000


def tuples_of_tuples() -> bytes:
    """A pickle of a hundred bytes: {t40: 0} with t(n + 1) = (t(n), t(n)); hashing t40 takes 2⁴⁰ steps."""
    return b"\x80\x02})q\x00" + b"".join(b"h%c\x86q%c" % (n, n + 1) + b"" for n in range(40)) + b"K\x00s."


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("tuples of tuples", tuples_of_tuples(), "more often than any such batch does"),
        ("lists of lists", None, "expected text, received list"),
        ("code", pickle.dumps(os.getcwd), "which no such batch does"),
    ],
)
def test_hostile_cifar_batches(cli, own_world, tmp_path, name, data, message):
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    if data is None:
        deep: list = ["x"]
        for _ in range(8):
            deep = [deep] * 5
        data = pickle.dumps({"label_names": [deep]}, 2)
    batch = pickle.dumps({"labels": [0, 1]}, 2)
    for file in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        (place / file).write_bytes(batch)
    (place / "batches.meta").write_bytes(data)
    assert message in refused(cli, own_world, "--data", place)


def test_class_lists_that_differ_and_empty_classes_are_told_together(cli, own_world, folder):
    (folder / "train/c").mkdir()
    (folder / "train/c/0.png").write_bytes(png(500))
    (folder / "test/d").mkdir()
    for file in (folder / "test/b").iterdir():
        file.unlink()
    told = " ".join(refused(cli, own_world, "--data", folder).split())
    assert "the classes of train and test differ: c (only in train); d (only in test)" in told
    assert "no pictures in 1 of the 3 class folders of test: b" in told


def test_the_same_picture_in_two_parts_is_refused_and_can_be_allowed(cli, own_world, folder):
    for index in range(2):
        (folder / f"test/a/{index}.png").write_bytes((folder / f"train/b/{index}.png").read_bytes())
    told = " ".join(refused(cli, own_world, "--data", folder).split())
    assert "copies in train and test: 2 pictures, 33.3% of test, 2 of them under another label" in told
    assert "(test/a/0.png is train/b/0.png, …)" in told
    assert "--allow-duplicates" in told
    for allowed in (["--allow-duplicates"], ["--set", "data.allow_duplicates=true"]):
        ended = cli(*TRAIN, "--data", folder, *allowed)
        assert ended.code == 0, ended.err
        assert "copies in train and test: 2 pictures" in " ".join(ended.out.split())


def test_what_is_odd_but_no_fault_is_counted_before_training(cli, folder):
    (folder / "train/b/copy.png").write_bytes((folder / "train/a/0.png").read_bytes())
    for part in ("train", "test"):
        (folder / part / "c").mkdir()
        (folder / part / "c/0.png").write_bytes(png(700 + len(part)))
    ended = cli(*TRAIN, "--data", folder)
    assert ended.code == 0, ended.err
    told = " ".join(ended.out.split())
    assert "copies within train: 1 picture" in told
    assert "the same picture under two labels in train: 1 picture (train/a/0.png is train/b/copy.png)" in told
    assert "one training picture only, none for validation: 1 class (c)" in told
    assert told.index("one training picture only") < told.index("epoch")


def test_standard_sets_tell_of_their_duplicates_and_train(cli):
    assert cli(*TRAIN, "--data", "digits").code == 0
