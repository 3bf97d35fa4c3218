"""Archives of folders: the same data as the folder, and nothing of what archives can do to a reader."""

import io
import re
import tarfile
import zipfile

import pytest

from cnnlab.data import archives, load
from cnnlab.errors import DataError

COUNTS = {"train/a": 3, "train/b": 4, "test/a": 2, "test/b": 1}


def pack_tar(root, file, mode="w:gz", prefix=""):
    with tarfile.open(file, mode) as archive:
        archive.add(root, arcname=prefix or ".")
    return file


def pack_zip(root, file, prefix=""):
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(root.rglob("*"), reverse=True):
            archive.write(path, prefix + path.relative_to(root).as_posix())
    return file


@pytest.mark.parametrize("name", ["my set.tar.gz", "my set.tgz", "my set.tar", "my set.zip", "my set.ZIP"])
@pytest.mark.parametrize("prefix", ["", "around/"])
def test_an_archive_equals_its_folder(picture_folder, tmp_path, name, prefix):
    root = picture_folder(COUNTS)
    if name.lower().endswith("zip"):
        file = pack_zip(root, tmp_path / name, prefix)
    else:
        file = pack_tar(root, tmp_path / name, "w" if name.endswith("tar") else "w:gz", prefix.rstrip("/"))
    packed, plain = load(str(file)), load(str(root))
    assert packed.name == "my set"
    assert packed.fingerprint == plain.fingerprint
    assert packed.train.names == plain.train.names
    assert packed.notices == ()


@pytest.mark.parametrize("prefix", ["", "around/"])
def test_an_archive_without_the_layout_says_what_it_holds(picture_folder, tmp_path, prefix):
    file = pack_zip(picture_folder({"cats/a": 2, "dogs/b": 1}), tmp_path / "set.zip", prefix)
    with pytest.raises(DataError, match=r"no train folder(?s:.*)not used.*cats, dogs") as caught:
        load(str(file))
    assert "train/CLASS/pictures" in caught.value.hint


@pytest.mark.parametrize(
    ("encoded", "read"),
    [("café".encode(), "café"), ("café".encode("cp437"), "café"), ("狗".encode("gbk"), "╣╖")],
)
def test_a_zip_that_does_not_say_how_its_names_are_encoded(picture_folder, tmp_path, encoded, read):
    stand_in = "X" * len(encoded)
    file = pack_zip(picture_folder({f"train/{stand_in}": 2, "train/b": 2}), tmp_path / "x.zip")
    file.write_bytes(file.read_bytes().replace(stand_in.encode(), encoded))
    assert load(str(file)).classes == ("b", read)


def test_a_file_beside_the_outer_folder_does_not_hide_it(picture_folder, tmp_path):
    root = picture_folder(COUNTS)
    (tmp_path / "README").write_text("about")
    file = tmp_path / "set.tar"
    with tarfile.open(file, "w") as archive:
        archive.add(tmp_path / "README", "README")
        archive.add(root, "around")
    data = load(str(file))
    assert (len(data.train), data.notices) == (7, ())


def test_an_archive_of_macos_has_its_outer_folder_behind_clutter(picture_folder, tmp_path):
    root = picture_folder(COUNTS)
    clutter = tmp_path / "._around"
    clutter.write_bytes(b"\0\5\x16\7")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(clutter, arcname="._around")
        archive.add(root, arcname="around")
    assert load(str(tmp_path / "set.tar")).fingerprint == load(str(root)).fingerprint


def with_member(tmp_path, name="x.png", data=b"x", **fields):
    member = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(member, key, value)
    if "size" not in fields:
        member.size = len(data) if member.isreg() else 0
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.addfile(member, io.BytesIO(data))
    return tmp_path / "x.tar.gz"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "train/a/x.png", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "holds a link or a device"),
        ({"name": "train/a/x.png", "type": tarfile.LNKTYPE, "linkname": "y"}, "holds a link or a device"),
        ({"name": "train/a/x.png", "type": tarfile.FIFOTYPE}, "holds a link or a device"),
        ({"name": "train/a/x.png", "type": tarfile.CHRTYPE}, "holds a link or a device"),
        ({"name": "../x.png"}, "leads outside"),
        ({"name": "train/../../x.png"}, "leads outside"),
        ({"name": "/etc/x.png"}, "leads outside"),
        ({"name": "train\\..\\..\\x.png"}, "leads outside"),
        ({"name": "C:\\x.png"}, "leads outside"),
        ({"name": "train/a/" + "x" * 900_000 + ".png"}, "a name of 900,012 characters (train/a/xxx"),
        ({"name": "../" + "x" * 900_000, "type": tarfile.FIFOTYPE}, "a name of 900,003 characters"),
    ],
)
def test_hostile_members_are_refused(tmp_path, own_world, fields, message):
    with pytest.raises(DataError, match=re.escape(message)):
        load(str(with_member(tmp_path, **fields)))
    assert list(own_world.iterdir()) == []


@pytest.mark.parametrize("name", ["", "train\\a\\", "./"])
def test_a_member_of_a_zip_without_a_name_or_with_a_folders_is_passed_over(picture_folder, tmp_path, name):
    root = picture_folder(COUNTS)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"")
        for file in sorted(root.rglob("*.png")):
            archive.write(file, file.relative_to(root))
    assert load(str(tmp_path / "set.zip")).fingerprint == load(str(root)).fingerprint


def test_a_long_name_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("train/a/" + "x" * 5000 + ".png", b"x")
    with pytest.raises(DataError, match=r"a name of 5,012 characters"):
        load(str(tmp_path / "x.zip"))


def test_a_member_twice_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for _ in range(2):
            member = tarfile.TarInfo("train/a/x.png")
            archive.addfile(member, io.BytesIO(b""))
    with pytest.raises(DataError, match="twice"):
        load(str(tmp_path / "x.tar"))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bombs_are_refused_before_they_unfold(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 1 << 20)
    if kind == "tar":
        file = with_member(tmp_path, "train/a/x.png", bytes(3 << 20))
    else:
        file = tmp_path / "x.zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("train/a/x.png", bytes(3 << 20))
    assert file.stat().st_size < 10_000
    with pytest.raises(DataError, match="too large unpacked"):
        load(str(file))


def test_a_bomb_of_many_members_is_refused(tmp_path, monkeypatch, picture_folder):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    with pytest.raises(DataError, match="too many files: at most 5"):
        load(str(pack_tar(picture_folder(COUNTS), tmp_path / "x.tar.gz")))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 100)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 3000)
    with pytest.raises(DataError, match="too large unpacked"):
        load(str(tmp_path / "x.tar.gz"))


def test_a_bomb_in_a_header_is_refused(tmp_path, monkeypatch):
    """The extended header of one member may claim gigabytes, which tarfile would read at once."""
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 1 << 20)
    with pytest.raises(DataError, match="too large unpacked"):
        load(str(with_member(tmp_path, "train/a/x.png", bytes(3 << 20), type=tarfile.XHDTYPE, size=3 << 20)))


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x1f\x8b", b"PK\x03\x04"])
def test_what_is_no_archive_is_refused(tmp_path, data):
    (tmp_path / "x.tar.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"not a readable archive|no pictures|no train folder") as caught:
        load(str(tmp_path / "x.tar.gz"))
    assert caught.value.hint


def test_every_cut_of_an_archive_is_refused(picture_folder, tmp_path):
    whole = pack_tar(picture_folder(COUNTS), tmp_path / "x.tar.gz").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99, 0.999):
        (tmp_path / "cut.tar.gz").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError):
            load(str(tmp_path / "cut.tar.gz"))


def test_a_cut_between_two_members_is_refused(picture_folder, tmp_path):
    whole = pack_tar(picture_folder(COUNTS), tmp_path / "x.tar", "w").read_bytes()
    with tarfile.open(tmp_path / "x.tar") as archive:
        starts = [member.offset for member in archive if member.isfile()]
    for start in starts[1:]:
        (tmp_path / "cut.tar").write_bytes(whole[:start])
        with pytest.raises(DataError, match="cut short"):
            load(str(tmp_path / "cut.tar"))


def test_a_broken_picture_in_an_archive(picture_folder, tmp_path):
    root = picture_folder(COUNTS)
    (root / "train/b/0001.png").write_bytes(b"GIF89a")
    file = pack_zip(root, tmp_path / "x.zip")
    with pytest.raises(DataError, match="1 of 10 pictures"):
        load(str(file))
    data = load(str(file), skip_bad=True)
    assert len(data.train) == 6
    assert data.notices == ("skipped as unreadable: 1 picture (train/b/0001.png)",)


def test_an_archive_without_pictures(tmp_path):
    with pytest.raises(DataError, match="holds no class folders"):
        load(str(with_member(tmp_path, "readme.txt")))


def _header(name, size, kind=b"0"):
    """A tar header whose size is these 12 bytes."""
    header = bytearray(512)
    for place, field in ((0, name), (100, b"0000644\0"), (124, size), (136, b"0" * 11), (156, kind), (257, b"ustar\0")):
        header[place : place + len(field)] = field
    header[148:156] = b"%06o\0 " % (sum(header) + 8 * 32)
    return bytes(header)


def _extended(record):
    """An extended header (PAX) that holds this record."""
    return _header(b"pax", b"%011o\0" % len(record), b"x") + record.ljust(512, b"\0") + _header(b"a", b"0" * 11)


@pytest.mark.parametrize(
    "content",
    [
        _extended(b"23 GNU.sparse.map=a,b\n"),
        _extended(b"22 GNU.sparse.size=zz\n"),
        _extended(b"9" * 30 + b" path=x\n"),
        _extended(b"9" * 500 + b" path=x\n"),
        _header(b"train/a/1.png", b"0" * 11) + _header(b".", (256**12 - 512).to_bytes(12, "big")),  # a loop once
        _header(b"train/a/x.png", (256**12 - 512).to_bytes(12, "big")),
    ],
)
def test_headers_with_numbers_that_are_none_are_damage(tmp_path, content):
    file = tmp_path / "set.tar"
    file.write_bytes(content + bytes(1024))
    with pytest.raises(DataError, match="damaged"):
        load(str(file))


def test_a_zip_with_a_name_that_is_no_utf_8_is_damaged(tmp_path):
    file = tmp_path / "set.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train/a/é.png", b"x")
    file.write_bytes(file.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(DataError, match="damaged"):
        load(str(file))
