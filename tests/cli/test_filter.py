"""`cnnlab filter` from the outside: what it writes, what it says, how it fails."""

import errno
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

RANDOM = np.random.default_rng(11)
COLOURS = RANDOM.integers(0, 256, (31, 43, 3), dtype=np.uint8)
SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)


@pytest.fixture
def photo(own_world: Path) -> Path:
    path = own_world / "photo.png"
    Image.fromarray(COLOURS).save(path)
    return path


def pixels_of(path: Path | str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_writes_beside_the_picture_what_opencv_computes(cli, photo: Path, own_world: Path) -> None:
    ended = cli("filter", "photo.png", "--kernel", "sobel-x")
    assert ended.code == 0
    expected = np.abs(cv2.filter2D(COLOURS, cv2.CV_32F, SOBEL_X))
    np.testing.assert_array_equal(pixels_of("photo-sobel-x.png"), np.clip(expected, 0, 255))
    assert files(own_world) == {"photo.png", "photo-sobel-x.png"}
    assert "photo-sobel-x.png" in ended.out
    assert "abs (default)" in ended.out


def test_the_json_document(cli, photo: Path) -> None:
    ended = cli("filter", photo, "--kernel", "sobel-x", "--stride", 2, "--pad", "zero", "--json")
    [output] = ended.json["outputs"]
    raw = cv2.filter2D(COLOURS, cv2.CV_32F, SOBEL_X, borderType=cv2.BORDER_CONSTANT)[::2, ::2]
    assert output["input"] == str(photo)
    assert Path(output["output"]).name == "photo-sobel-x.png"
    assert output["kernel"] == "sobel-x"
    assert output["matrix"] == SOBEL_X.tolist()
    assert (output["rank"], output["pad"], output["stride"], output["response"]) == (1, "zero", 2, "abs")
    assert (output["min"], output["max"]) == (raw.min(), raw.max())
    assert output["seconds"] > 0
    assert pixels_of(output["output"]).shape == (16, 22, 3)


def test_the_same_again_is_success_and_another_result_needs_force(cli, photo: Path) -> None:
    assert cli("filter", photo, "-k", "blur").code == 0
    before = Path("photo-blur.png").read_bytes()
    assert cli("filter", photo, "-k", "blur").code == 0
    ended = cli("filter", photo, "-k", "blur:size=5", "-k", "edge")
    assert ended.code == 2
    assert "photo-blur.png is there already" in ended.err
    assert "--force" in ended.err
    assert Path("photo-blur.png").read_bytes() == before
    assert not Path("photo-edge.png").exists()  # all of a picture's outputs or none
    assert cli("filter", photo, "-k", "blur:size=5", "--force").code == 0
    assert Path("photo-blur.png").read_bytes() != before


def test_a_folder_in_the_way_of_one_output_leaves_none(cli, photo: Path, own_world: Path) -> None:
    Path("photo-edge.png").mkdir()
    for options in ((), ("--force",)):
        ended = cli("filter", photo, "-k", "blur", "-k", "edge", *options)
        assert ended.code == 4
        assert "photo-edge.png: it is a folder" in ended.err
        assert files(own_world) == {"photo.png", "photo-edge.png"}


def test_a_disk_that_fills_up_between_two_outputs_leaves_none(
    cli, photo: Path, own_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        if "edge" in path.name:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("cnnlab.imaging.writing.write_and_flush", write)
    ended = cli("filter", photo, "-k", "blur", "-k", "edge")
    assert ended.code == 4
    assert "the disk is full" in ended.err
    assert files(own_world) == {"photo.png"}


def test_names_of_outputs(cli, photo: Path, own_world: Path) -> None:
    Path("k.yaml").write_text("name: ../my [/b] kernel\nmatrix: [[1, 2], [3, 4]]\nscale: 0.1\noffset: 5\n")
    ended = cli(
        "filter", photo, "-k", "1 2; 3 4", "-k", "2 1", "-k", "gaussian:size=5", "-k", "gaussian:size=7",
        "-k", "soft=blur", "-k", "k.yaml",
    )  # fmt: skip
    assert ended.code == 0
    assert files(own_world) == {
        "photo.png", "k.yaml", "photo-custom.png", "photo-custom-2.png", "photo-gaussian.png",
        "photo-gaussian-2.png", "photo-soft.png", "photo-my-b-kernel.png",
    }  # fmt: skip
    expected = cv2.filter2D(COLOURS, cv2.CV_64F, np.array([[1.0, 2], [3, 4]])) * 0.1 + 5
    assert np.abs(pixels_of("photo-my-b-kernel.png") - np.clip(np.rint(expected), 0, 255)).max() <= 1


def test_output_as_a_file_and_as_a_folder(cli, photo: Path, own_world: Path) -> None:
    assert cli("filter", photo, "-k", "edge", "-o", "new/e.jpg").code == 0
    with Image.open("new/e.jpg") as picture:
        assert picture.format == "JPEG"
    assert cli("filter", photo, "-k", "edge", "-k", "blur", "-o", "both").code == 0
    assert files(own_world / "both") == {"photo-edge.png", "photo-blur.png"}
    ended = cli("filter", photo, "-k", "edge", "-k", "blur", "-o", "one.png")
    assert ended.code == 2
    assert "several outputs cannot all be the file one.png\nGive -o a folder: one.png/" in ended.err
    ended = cli("filter", photo, "-k", "edge", "-k", "blur", "-o", "results.v2")
    assert (ended.code, "Give -o a folder: results.v2/" in ended.err) == (2, True)
    assert cli("filter", photo, "-k", "edge", "-k", "blur", "-o", "results.v2/").code == 0


def test_a_sheet_goes_beside_an_output_of_its_name(cli, photo: Path, own_world: Path) -> None:
    assert cli("filter", photo, "-k", "blur", "-o", own_world / "photo-sheet.png", "--sheet").code == 0
    assert files(own_world) == {"photo.png", "photo-sheet.png", "photo-sheet-sheet.png"}
    assert pixels_of("photo-sheet.png").shape == COLOURS.shape


def test_what_an_error_on_a_taken_name_advises_helps(cli, photo: Path, own_world: Path) -> None:
    assert cli("filter", photo, "-k", "1 2; 3 4", "--sheet").code == 0
    for output in ((), ("-o", "rel.jpg"), ("-o", "new")):
        ended = cli("filter", photo, "-k", "2 1", "--sheet", *output)
        assert ended.code == (0 if output else 2)
    assert "sheet: new/photo-sheet.png" in ended.out.replace("\\", "/")
    assert files(own_world) - {"new"} == {
        "photo.png", "photo-custom.png", "photo-sheet.png", "rel.jpg", "rel-sheet.png"
    }  # fmt: skip
    hint = "Use --force to overwrite it, or give -o a file or folder that is not there yet"
    for output in ((), ("-o", "rel.jpg"), ("-o", "new")):
        assert hint in cli("filter", photo, "-k", "3 1", "--sheet", *output).err
    Image.fromarray(COLOURS).save("china.jpg")
    ended = cli("filter", "sample:china", "-k", "blur", "-o", "x.png")  # where -o is of no help
    assert ended.code == 2
    assert "china.jpg is there already, and is another picture\nUse --force to overwrite it, or call from" in ended.err


def test_no_output_overwrites_a_picture_still_to_be_filtered(cli, photo: Path, own_world: Path) -> None:
    Image.new("L", (5, 5), 255).save("photo-blur.png")
    Image.new("L", (5, 5), 255).save("photo-sheet.png")
    before = {name: Path(name).read_bytes() for name in files(own_world)}
    (own_world / "below").mkdir()
    for arguments in (
        ("photo-blur.png", "-k", "blur"),
        ("below/../photo-blur.png", "-k", "edge", "-k", "blur"),
        ("photo-sheet.png", "-k", "edge", "--sheet"),
    ):
        ended = cli("filter", photo, *arguments, "--force")
        assert ended.code == 2
        assert "would be overwritten by an output of" in ended.err
        assert "use -o to write elsewhere" in ended.err
        assert {name: Path(name).read_bytes() for name in files(own_world) - {"below"}} == before
    assert cli("filter", photo, "photo-blur.png", "-k", "blur", "-o", "elsewhere", "--force").code == 0
    assert cli("filter", "photo-blur.png", photo, "-k", "blur", "--force").code == 0  # read before it is overwritten
    assert np.unique(pixels_of("photo-blur-blur.png")).tolist() == [255]


def test_channels(cli, photo: Path) -> None:
    for channels, source in (("gray", np.array(Image.fromarray(COLOURS).convert("L"))), ("sum", COLOURS.sum(axis=2))):
        path = f"{channels}.png"
        assert cli("filter", photo, "-k", "edge", "--channels", channels, "-o", path).code == 0
        kernel = np.full((3, 3), -1.0)
        kernel[1, 1] = 8
        expected = np.abs(cv2.filter2D(source.astype(np.float64), cv2.CV_64F, kernel))
        np.testing.assert_array_equal(pixels_of(path), np.clip(expected, 0, 255))


def test_the_sum_of_channels_is_that_of_their_responses(cli, photo: Path) -> None:
    def magnitude(plane: np.ndarray) -> np.ndarray:
        gx, gy = (cv2.filter2D(plane.astype(float), cv2.CV_64F, matrix) for matrix in (SOBEL_X, SOBEL_X.T))
        return np.hypot(gx, gy)

    strong = COLOURS // 32  # so that sums stay below white
    Image.fromarray(strong).save(photo)
    blocks = strong[:30, :42].reshape(15, 2, 21, 2, 3)
    expected = {
        "max-pool": blocks.max(axis=(1, 3)).sum(axis=2),
        "sobel": np.rint(sum(magnitude(strong[:, :, channel]) for channel in range(3))),
    }
    for kernel, picture in expected.items():
        assert cli("filter", photo, "-k", kernel, "--channels", "sum").code == 0
        np.testing.assert_array_equal(pixels_of(f"photo-{kernel}.png"), picture)


def test_a_negative_response_is_not_black_unless_asked_for(cli, photo: Path) -> None:
    assert "signed (default)" in cli("filter", photo, "-k", "-1 -1; -1 2", "-o", "s.png").out
    assert pixels_of("s.png").max() > 100
    Image.fromarray(COLOURS.astype(np.uint16)[:, :, 0] * 257).save("deep.png")
    Path("negative.yaml").write_text("matrix: [[-1]]\noffset: 40000\n")
    assert cli("filter", "deep.png", "-k", "negative.yaml", "--json").json["outputs"][0]["response"] == "clip"
    assert cli("filter", photo, "-k", "-1 -1; -1 2", "--response", "clip", "-o", "c.png").code == 0


def test_flip_is_convolution(cli, photo: Path) -> None:
    assert cli("filter", photo, "-k", "1 2 0; 0 0 0; 0 0 3", "--flip", "-o", "f.png").code == 0
    expected = cv2.filter2D(COLOURS, cv2.CV_32F, np.array([[3.0, 0, 0], [0, 0, 0], [0, 2, 1]]))
    np.testing.assert_array_equal(pixels_of("f.png"), np.clip(expected, 0, 255))


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_pools_are_the_lectures(cli, photo: Path, kind: str) -> None:
    assert cli("filter", photo, "-k", f"{kind}-pool:size=2", "-o", "p.png").code == 0
    blocks = COLOURS[:30, :42].reshape(15, 2, 21, 2, 3)
    expected = blocks.max(axis=(1, 3)) if kind == "max" else np.rint(blocks.mean(axis=(1, 3)))
    np.testing.assert_array_equal(pixels_of("p.png"), expected)
    assert cli("filter", photo, "-k", f"{kind}-pool:size=3,stride=1", "-o", "q.png").code == 0
    assert pixels_of("q.png").shape == (29, 41, 3)


@pytest.mark.parametrize("options", ["size=1", "size=1,stride=2"])
def test_a_pool_of_one_pixel_takes_every_nth(cli, photo: Path, options: str) -> None:
    assert cli("filter", photo, "-k", f"max-pool:{options}", "-o", "p.png", "--threads", "1").code == 0
    step = 2 if "stride" in options else 1
    np.testing.assert_array_equal(pixels_of("p.png"), COLOURS[::step, ::step])


def test_sixteen_bit_gray_stays_sixteen_bit(cli, own_world: Path) -> None:
    deep = RANDOM.integers(0, 65536, (20, 30), dtype=np.uint16)
    for ending in ("png", "tif"):
        Image.fromarray(deep).save(f"deep.{ending}")
        assert cli("filter", f"deep.{ending}", "-k", "edge").code == 0
        kernel = np.full((3, 3), -1.0)
        kernel[1, 1] = 8
        expected = np.abs(cv2.filter2D(deep.astype(np.float64), cv2.CV_64F, kernel))
        np.testing.assert_array_equal(pixels_of(f"deep-edge.{ending}"), np.clip(expected, 0, 65535))
    ended = cli("filter", "deep.png", "-k", "edge", "-o", "deep.jpg")
    assert (ended.code, Path("deep.jpg").exists()) == (2, False)
    assert "JPEG cannot hold 16-bit gray" in ended.err


def test_alpha_is_kept(cli, own_world: Path) -> None:
    alpha = RANDOM.integers(0, 256, (20, 30), dtype=np.uint8)
    for name, planes in (("rgba", [COLOURS[:20, :30], alpha]), ("la", [COLOURS[:20, :30, 0], alpha])):
        Image.fromarray(np.dstack(planes)).save(f"{name}.png")
        assert cli("filter", f"{name}.png", "-k", "blur:size=5").code == 0
        np.testing.assert_array_equal(pixels_of(f"{name}-blur.png")[:, :, -1], alpha)


def test_a_folder_leaves_out_its_own_outputs(cli, photo: Path, own_world: Path) -> None:
    folder = own_world / "many"
    folder.mkdir()
    for name in ("a.png", "b.bmp", "c-edge.png"):
        Image.fromarray(COLOURS).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    for _ in range(2):
        ended = cli("filter", folder, "-k", "edge", "--json")
        assert ended.code == 0
        assert [Path(output["input"]).name for output in ended.json["outputs"]] == ["a.png", "b.bmp", "c-edge.png"]
    assert files(folder) == {
        "a.png", "b.bmp", "c-edge.png", "notes.txt", "a-edge.png", "b-edge.bmp", "c-edge-edge.png"
    }  # fmt: skip


def test_files_of_a_folder_that_are_not_read_are_told_in_a_line(cli, photo: Path, own_world: Path) -> None:
    for name in ("a.gif", "b.GIF", "c.txt", "README", ".DS_Store", "Thumbs.db", "\x1b[31m"):
        Path(name).touch()
    Path("below.gif").mkdir()
    line = "note: 5 files left out, of kinds that are not read: \\x1b[31m, .gif, .txt, README\n"
    ended = cli("filter", ".", "-k", "edge")
    assert ended.code == 0
    assert line in ended.out
    ended = cli("filter", ".", "-k", "edge", "--json")
    assert line in ended.err
    assert len(ended.json["outputs"]) == 1
    assert "left out" not in cli("filter", photo, "-k", "edge").out
    for number in range(8):
        Path(f"x.{number}").touch()
    out = cli("filter", ".", "-k", "edge").out
    assert "1 file left out, named like an output of an earlier call\n" in out
    assert "13 files left out, of kinds that are not read: \\x1b[31m, .0, .1, .2, .3, .4, …\n" in out


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_paths_of_outputs_stay_whole(cli, photo: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    folder = "outputs-of-the-second-exercise/edges-of-every-direction-and-more"
    out = cli("filter", photo, "-k", "edge", "-o", f"{folder}/", "--sheet").out
    assert f"{folder}/photo-edge.png" in out
    assert f"sheet: {folder}/photo-sheet.png\n" in out
    assert "abs (default)" in out
    assert ("written" in out) == (columns == 200)


def test_one_failure_of_many_stops_no_other(cli, photo: Path, own_world: Path) -> None:
    Path("broken.png").write_text("no picture at all")
    ended = cli("filter", "broken.png", photo, "nowhere.png", "-k", "edge")
    assert ended.code == 3
    assert Path("photo-edge.png").exists()
    assert "2 of 3 pictures failed" in ended.out
    assert "broken.png is not a picture" in ended.err
    assert "no such file: nowhere.png" in ended.err
    ended = cli("filter", "broken.png", photo, "-k", "edge", "--json")
    assert ended.code == 3
    assert len(ended.json["outputs"]) == 1
    assert ended.json["failures"][0]["input"] == "broken.png"
    assert ended.json["error"]["code"] == 3


def test_pages_and_frames_that_are_not_read_are_told(cli, photo: Path, own_world: Path) -> None:
    pages = [Image.fromarray(np.roll(COLOURS, shift)) for shift in range(3)]
    for name in ("scan.tif", "moving.png", "moving.webp"):
        pages[0].save(own_world / name, save_all=True, append_images=pages[1:], lossless=True)
    pages[0].save(own_world / "single.tif")
    for name in ("scan.tif", "moving.png", "moving.webp"):
        ended = cli("filter", name, "--kernel", "identity", "--json")
        assert ended.code == 0
        assert f"first page or frame alone of {name}" in ended.err
        np.testing.assert_array_equal(pixels_of(ended.json["outputs"][0]["output"])[..., :3], COLOURS)
    for name in ("single.tif", str(photo)):
        assert "first page" not in cli("filter", name, "--kernel", "identity").out
    several = cli("filter", "scan.tif", "moving.png", "single.tif", "--kernel", "blur")
    assert "of 2 pictures, scan.tif among them" in several.out


def test_samples_and_the_list(cli, own_world: Path) -> None:
    assert cli("filter", "sample:flower", "-k", "mean-pool:size=8").code == 0
    assert pixels_of("flower-mean-pool.jpg").shape == (53, 80, 3)
    assert "Did you mean china" in cli("filter", "sample:chin", "-k", "edge").err
    listed = cli("filter", "--list", "--json").json["kernels"]
    assert {row["name"]: row["sum"] for row in listed}["blur"] == pytest.approx(1)
    assert {row["name"]: row["rank"] for row in listed}["sobel-x"] == 1
    assert "sobel-x" in cli("filter", "--list").out


def half_jpeg(folder: Path) -> None:
    Image.fromarray(COLOURS).save(folder / "bad.png", "JPEG")
    whole = (folder / "bad.png").read_bytes()
    (folder / "bad.png").write_bytes(whole[: len(whole) // 2])


def giant(folder: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data)]
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


BAD = {
    "no file": (["nowhere.png", "-k", "edge"], 3, "no such file: nowhere.png"),
    "text": (["bad.png", "-k", "edge"], 3, "bad.png is not a picture of a known format"),
    "half": (["bad.png", "-k", "edge"], 3, "bad.png is damaged or cut short"),
    "giant": (["bad.png", "-k", "edge"], 3, "declares 60,000×60,000 pixels"),
    "unknown kernel": (["photo.png", "-k", "soble-x"], 2, "there is no kernel 'soble-x'\nDid you mean sobel-x"),
    "unknown option": (["photo.png", "-k", "gaussian:sise=3"], 2, "no option 'sise'\nDid you mean size?"),
    "option of none": (["photo.png", "-k", "edge:size=3"], 2, "edge has no options"),
    "decimal": (["photo.png", "-k", "gaussian:sigma=1,5"], 2, "received 1,5\nSuch as gaussian:size=15,sigma=1.5:"),
    "size 0": (["photo.png", "-k", "blur:size=0"], 2, "expected a whole number from 1 to 501, received '0'"),
    "size too large": (["photo.png", "-k", "blur:size=100000"], 2, "expected a whole number from 1 to 501"),
    "sigma": (["photo.png", "-k", "gaussian:sigma=-1"], 2, "gaussian:sigma: expected a number"),
    "decimal commas": (["photo.png", "-k", "0,5 0,5; 0,5 0,5"], 2, "a point in numbers"),
    "ragged": (["photo.png", "-k", "1 2; 3"], 2, "is ragged: its rows have 2, 1 numbers"),
    "empty": (["photo.png", "-k", ""], 2, "an empty kernel"),
    "empty rows": (["photo.png", "-k", ";"], 2, "expected a finite number"),
    "words": (["photo.png", "-k", "1 two; 3 4"], 2, "holds 'two', expected a finite number"),
    "nan": (["photo.png", "-k", "1 nan; 3 4"], 2, "holds 'nan', expected a finite number"),
    "inf": (["photo.png", "-k", "1 1e999; 3 4"], 2, "not finite"),
    "yaml inf": (["photo.png", "-k", "inf.yaml"], 2, "holds '.inf', expected a finite number"),
    "broken yaml": (["photo.png", "-k", "broken.yaml"], 2, "\nSuch as `matrix: [[-1, 0, 1], [-2,"),
    "yaml key": (["photo.png", "-k", "key.yaml"], 2, "there is no key 'matricks'\nDid you mean matrix?"),
    "yaml scale": (["photo.png", "-k", "scale.yaml"], 2, "scale"),
    "no yaml": (["photo.png", "-k", "none.yaml"], 2, "cannot read the kernel none.yaml"),
    "too large": (["photo.png", "-k", "blur:size=32", "--pad", "none"], 2, "height 32 against 31"),
    "pad": (["photo.png", "-k", "edge", "--pad", "reflekt"], 2, "none; received 'reflekt'\nDid you mean reflect?"),
    "response": (["photo.png", "-k", "edge", "--response", "x"], 2, "signed, scale; received 'x'"),
    "channels": (["photo.png", "-k", "edge", "--channels", "all"], 2, "each, gray, sum; received 'all'"),
    "stride 0": (["photo.png", "-k", "edge", "--stride", "0"], 2, "--stride"),
    "learnt": (["photo.png", "-k", "a:conv1"], 2, "A learnt kernel is written a:conv1[0]"),
    "learnt channel": (["photo.png", "-k", "a:conv1[0,1]"], 2, "A learnt kernel is written a:conv1[0], 0 being"),
    "learnt run": (["photo.png", "-k", "a:conv1[-1]"], 2, "A learnt kernel is written a:conv1[0], 0 being"),
    "option": (["photo.png", "-k", "gaussian:15"], 2, "Did you mean gaussian?"),
    "no kernel": (["photo.png"], 2, "no kernel is named"),
    "no picture": (["-k", "edge"], 2, "no picture is named"),
    "ending": (["photo.png", "-k", "edge", "-o", "x.gif"], 2, "names no format that cnnlab writes"),
    "below a file": (["photo.png", "-k", "edge", "-o", "key.yaml/x.png"], 4, "key.yaml is a file, not a folder"),
    "long name": (["a" * 300, "-k", "edge"], 4, "File name too long"),
    "long output": (["photo.png", "-k", "edge", "-o", "a" * 300 + ".png"], 4, "the name is too long"),
    "loop": (["loop.png", "-k", "edge", "--force"], 4, "Too many levels of symbolic links"),
    "no run": (["photo.png", "-k", "nothing:conv1[3]"], 2, "no run 'nothing'"),
    "no picture in": (["empty", "-k", "edge"], 3, "the folder empty holds no picture"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error_and_nothing_is_written(cli, photo: Path, own_world: Path, case: str) -> None:
    arguments, code, text = BAD[case]
    (own_world / "inf.yaml").write_text("matrix: [[1, .inf]]")
    (own_world / "broken.yaml").write_text("matrix: [[1, 2")
    (own_world / "key.yaml").write_text("matricks: [[1, 2]]")
    (own_world / "scale.yaml").write_text("matrix: [[1, 2]]\nscale: 1e400")
    (own_world / "empty").mkdir()
    (own_world / "loop.png").symlink_to("loop.png")
    if case == "text":
        (own_world / "bad.png").write_text("this is a text file")
    if case == "half":
        half_jpeg(own_world)
    if case == "giant":
        giant(own_world)
    before = files(own_world)
    ended = cli("filter", *arguments)
    assert ended.code == code
    assert text in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert files(own_world) == before
    as_json = cli("filter", *arguments, "--json")
    assert as_json.code == code
    assert as_json.json["error"]["code"] == code


@pytest.mark.parametrize("name", ["\x1b[31mred.png", "[/b]bold.png", "[red]x.png"])
def test_a_hostile_name_is_shown_escaped(cli, own_world: Path, name: str) -> None:
    missing = name.replace("/", "") if "/" in name else name
    ended = cli("filter", missing, "-k", "edge")
    assert ended.code == 3
    assert "\x1b" not in ended.err
    Image.fromarray(COLOURS).save(missing)
    ended = cli("filter", missing, "-k", "edge", "-v")
    assert ended.code == 0
    assert "\x1b" not in ended.out
    shown = missing.replace("\x1b", "\\x1b").replace(".png", "-edge.png")
    assert shown in "".join(ended.out.split("\n"))


def test_a_markup_folder_is_shown_as_it_is(cli, own_world: Path) -> None:
    folder = own_world / "[" / "b]"
    folder.mkdir(parents=True)
    Image.fromarray(COLOURS).save(folder / "x.png")
    ended = cli("filter", "[/b]/x.png", "-k", "edge")
    assert ended.code == 0
    assert "[/b]/x-edge.png" in ended.out.replace("\\", "/")


def test_quiet_says_nothing_and_verbose_how_it_was_worked_out(cli, photo: Path) -> None:
    assert cli("filter", photo, "-k", "edge", "-q").out == ""
    ended = cli("filter", photo, "-k", "gaussian:size=15", "-v")
    assert "rank 1: 15 + 15 multiplications instead of 225" in ended.out


def test_a_learnt_kernel_is_applied_without_torch(cli, photo: Path, own_world: Path) -> None:
    from cnnlab.training.checkpoint import save

    weights = RANDOM.normal(size=(4, 3, 5, 5)).astype(np.float32) * 0.1
    run = own_world / "runs" / "2026-cnn"
    (run / "checkpoints").mkdir(parents=True)
    (run / "recipe.yaml").write_text("seed: 0\n")
    save(run / "checkpoints", "best", {"conv1.weight": weights, "fc.weight": weights[0, 0]}, {"epoch": 1})
    for text in (f"{run}:conv1[3]", "2026:conv1[3]", "last:conv1[3]"):
        ended = cli("filter", photo, "-k", text, "--json", "--force")
        assert ended.code == 0
        raw = sum(cv2.filter2D(COLOURS[:, :, c], cv2.CV_64F, weights[3, c].astype(float)) for c in range(3))
        assert ended.json["outputs"][0]["min"] == pytest.approx(raw.min(), rel=1e-4)
        assert ended.json["outputs"][0]["max"] == pytest.approx(raw.max(), rel=1e-4)
        assert ended.json["outputs"][0]["response"] == "signed"
        signed = np.rint(128 + 127 * raw / np.abs(raw).max())
        assert np.abs(pixels_of("photo-conv1-3.png") - signed).max() <= 1
    assert cli("filter", photo, "-k", "last:conv1[3]", "--response", "clip", "-o", "clip.png").code == 0
    assert np.abs(pixels_of("clip.png") - np.clip(np.rint(raw), 0, 255)).max() <= 1
    assert "did you mean conv1" in cli("filter", photo, "-k", "last:conv2[0]").err.lower()
    assert "output channels 0 to 3, received 4" in cli("filter", photo, "-k", "last:conv1[4]").err
    stored = run / "checkpoints" / "best.safetensors"
    stored.write_bytes(stored.read_bytes()[:-1])
    assert cli("filter", photo, "-k", "last:conv1[3]").code == 3


def test_nothing_heavy_is_imported(photo: Path) -> None:
    code = (
        "import sys; from cnnlab.cli.main import main\n"
        "assert main(['filter', 'photo.png', '-k', 'gaussian:size=9', '-o', 'g.png']) == 0\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'scipy', 'pydantic', 'yaml', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=photo.parent, capture_output=True).returncode == 0


def test_output_survives_ascii(cli_process, own_world: Path) -> None:
    Image.fromarray(COLOURS).save("照片.png")
    ended = cli_process("filter", "照片.png", "-k", "edge", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ended.code == 0
    assert Path("照片-edge.png").exists()
