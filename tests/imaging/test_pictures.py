"""What is read, what is refused, and that nothing is lost in silence."""

import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cnnlab.errors import CnnlabError, PictureError
from cnnlab.imaging.headers import _webp_size
from cnnlab.imaging.pictures import MAX_PIXELS, read_picture, read_rgb_or_gray

RANDOM = np.random.default_rng(3)
COLOURS = RANDOM.integers(0, 256, (40, 30, 3), dtype=np.uint8)
DEEP_GRAY = RANDOM.integers(0, 65536, (40, 30), dtype=np.uint16)
DEEP_COLOUR = RANDOM.integers(0, 65536, (40, 30, 3), dtype=np.uint16)


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def declared_png(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes whose header declares width × height."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("pixels", [COLOURS, COLOURS[:, :, 0]], ids=["rgb", "gray"])
def test_lossless_formats_give_the_pixels_back(tmp_path: Path, format_name: str, pixels: np.ndarray) -> None:
    path = tmp_path / "picture.dat"  # the ending does not decide
    path.write_bytes(encoded(Image.fromarray(pixels), format_name))
    picture = read_picture(path)
    assert picture.format == format_name
    assert picture.alpha is None
    assert picture.pixels.dtype == np.uint8
    np.testing.assert_array_equal(picture.pixels, pixels.reshape(40, 30, -1))


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_sixteen_bit_gray_keeps_its_depth(tmp_path: Path, format_name: str) -> None:
    path = tmp_path / "deep"
    path.write_bytes(encoded(Image.fromarray(DEEP_GRAY), format_name))
    np.testing.assert_array_equal(read_picture(path).pixels[:, :, 0], DEEP_GRAY)
    eight_bit = read_rgb_or_gray(path)
    assert eight_bit.shape == (40, 30, 1)
    assert np.abs(eight_bit[:, :, 0] - DEEP_GRAY / 257).max() <= 0.5
    assert read_rgb_or_gray(path, mode="RGB").shape == (40, 30, 3)


def test_a_sixteen_bit_tiff_with_white_as_zero_is_turned_round(tmp_path: Path) -> None:
    plain = encoded(Image.fromarray(DEEP_GRAY), "TIFF")
    entry = struct.pack("<HHI", 262, 3, 1)  # PhotometricInterpretation, SHORT, one value
    assert plain.count(entry) == 1
    at = plain.index(entry) + len(entry)
    assert plain[at] == 1
    path = tmp_path / "negative.tif"
    path.write_bytes(plain[:at] + b"\0" + plain[at + 1 :])
    np.testing.assert_array_equal(read_picture(path).pixels[:, :, 0], 65535 - DEEP_GRAY)


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_sixteen_bit_colour_is_refused_not_cut(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"deep{ending}"
    path.write_bytes(cv2.imencode(ending, DEEP_COLOUR)[1].tobytes())
    with pytest.raises(PictureError, match=r"without loss.*received 16 bits a channel"):
        read_picture(path)


def test_sixteen_bit_gray_with_alpha_is_refused(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 1, 1, 16, 4, 0, 0, 0)
    body = zlib.compress(b"\0" + b"\x12\x34\x56\x78")
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    )
    with pytest.raises(PictureError, match="without loss"):
        read_picture(path)


@pytest.mark.parametrize(("mode", "received"), [("F", "floating point"), ("I", "integer")])
def test_float_and_32_bit_tiffs_are_refused(mode: str, received: str) -> None:
    source = encoded(Image.fromarray(COLOURS).convert("L").convert(mode), "TIFF")
    with pytest.raises(PictureError, match=f"without loss.*; received 32-bit {received} pixels"):
        read_rgb_or_gray(source)


@pytest.mark.parametrize(
    ("start", "received"),
    [
        (b"GIF87a\x14\0", "a GIF"),
        (b"\0\0\0\x18ftypheic", "a HEIC, an AVIF or a video"),
        (b"this is text", "a file that starts with 'this is '"),
        (b"\x1b[31m", r"a file that starts with '\\x1b\[31m'"),
    ],
)
def test_a_file_that_is_no_picture_is_called_by_its_name(start: bytes, received: str) -> None:
    with pytest.raises(PictureError, match=f"expected PNG, JPEG, TIFF, WebP or BMP, received {received}$"):
        read_rgb_or_gray(start)


def test_palette_and_cmyk_become_rgb() -> None:
    image = Image.fromarray(COLOURS)
    palette = image.quantize(7)
    np.testing.assert_array_equal(read_rgb_or_gray(encoded(palette, "PNG")), np.array(palette.convert("RGB")))
    cmyk = image.convert("CMYK")
    assert np.abs(read_rgb_or_gray(encoded(cmyk, "TIFF")).astype(int) - COLOURS).max() <= 1


def test_alpha_is_kept_and_for_data_laid_on_white(tmp_path: Path) -> None:
    alpha = RANDOM.integers(0, 256, (40, 30), dtype=np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(np.dstack([COLOURS, alpha])), "PNG"))
    picture = read_picture(path)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_array_equal(picture.pixels, COLOURS)
    share = alpha[:, :, None] / 255
    assert np.abs(read_rgb_or_gray(path) - (COLOURS * share + 255 * (1 - share))).max() <= 1


@pytest.mark.parametrize("options", [{"transparency": 3}, {}], ids=["transparent", "opaque"])
def test_a_transparent_palette_entry_becomes_alpha(tmp_path: Path, options: dict[str, int]) -> None:
    palette = Image.fromarray(COLOURS).quantize(7)
    path = tmp_path / "p.png"
    path.write_bytes(encoded(palette, "PNG", **options))
    alpha = read_picture(path).alpha
    if options:
        np.testing.assert_array_equal(alpha == 0, np.array(palette) == 3)
    else:
        assert alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_exif_rotation_is_applied(orientation: int, format_name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = COLOURS
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }[orientation]
    np.testing.assert_array_equal(read_rgb_or_gray(encoded(Image.fromarray(stored), format_name, exif=exif)), upright)


def test_a_declared_60000_by_60000_is_refused_at_once() -> None:
    assert MAX_PIXELS < 60_000**2
    started = time.perf_counter()
    with pytest.raises(PictureError, match="declares 60,000×60,000 pixels"):
        read_rgb_or_gray(declared_png(60_000, 60_000))
    assert time.perf_counter() - started < 1


def test_pictures_above_pillows_own_warning_are_judged_by_our_limit_alone() -> None:
    # 12,000 × 9,000 is a telephone's picture of today; Pillow would warn (an error under test) before it decodes.
    with pytest.raises(PictureError, match="damaged or cut short"):
        read_rgb_or_gray(declared_png(12_000, 9_000) + bytes(60_000))


def test_very_many_pixels_in_very_few_bytes_are_refused_before_memory_is_asked_for() -> None:
    with pytest.raises(PictureError, match="in 57 bytes: it is cut short, or made to fill memory"):
        read_rgb_or_gray(declared_png(12_000, 9_000))


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_the_size_of_a_webp_is_read_from_its_header(lossless: bool, alpha: bool) -> None:
    with io.BytesIO() as file:
        Image.new("RGBA" if alpha else "RGB", (301, 7), (1, 2, 3, 4) if alpha else (1, 2, 3)).save(
            file, "WEBP", lossless=lossless
        )
        assert _webp_size(file.getvalue()[:30]) == (301, 7)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "WebP", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_picture_cut_short_is_refused(tmp_path: Path, format_name: str, share: float) -> None:
    whole = encoded(Image.fromarray(COLOURS), format_name)
    path = tmp_path / "cut.png"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(PictureError, match=r"cut\.png") as caught:
        read_picture(path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "TIFF", "WebP", "BMP"])
def test_flipped_bytes_end_in_a_picture_or_a_picture_error(format_name: str) -> None:
    whole = encoded(Image.fromarray(COLOURS), format_name)
    for _ in range(100):
        damaged = bytearray(whole)
        for at in RANDOM.integers(0, len(damaged), 3):
            damaged[at] = RANDOM.integers(0, 256)
        try:
            assert read_rgb_or_gray(bytes(damaged)).dtype == np.uint8
        except PictureError:
            continue


@pytest.mark.parametrize(
    "body", [b"", b"hello, I am a text file", b"BM is how this text starts, but it is none", b"GIF89a"]
)
def test_what_is_no_picture_is_refused_with_the_name(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(body)
    with pytest.raises(PictureError, match=r"text\.png"):
        read_picture(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no such file"):
        read_picture(tmp_path / "nowhere.png")
    with pytest.raises(PictureError, match="folder"):
        read_picture(tmp_path)


def test_a_hostile_name_is_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(CnnlabError) as caught:
        read_picture(tmp_path / "\x1b[31mred.png")
    assert "\x1b" not in caught.value.message
    assert "\\x1b[31mred.png" in caught.value.message


@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_of_a_thousand_scans_is_not_decoded(tmp_path, progressive):
    content = encoded(Image.new("RGB", (400, 300)), "JPEG", progressive=progressive)
    last = content.rfind(b"\xff\xda")
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(content + b"\xff\xda" * 1000)  # behind the end, as in a photo with a film
    bad.write_bytes(content[:-2] + content[last:-2] * 1000 + b"\xff\xd9")
    assert read_picture(good).pixels.shape == (300, 400, 3)
    with pytest.raises(PictureError, match="more than 100 scans"):
        read_picture(bad)


def test_gray_of_twelve_bits_is_refused_instead_of_being_almost_black(tmp_path):
    tags = {256: 8, 257: 4, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: 48}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path = tmp_path / "deep.tif"
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 56) + bytes(48) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    )
    with pytest.raises(PictureError, match="received gray of 12 bits"):
        read_picture(path)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_level_of_gray_becomes_alpha(tmp_path, bits):
    """Eight pixels, the first of the transparent level, the highest; the others of level 0."""
    highest = 2**bits - 1
    row = (highest << 7 * bits).to_bytes(bits, "big")  # 8 pixels in so many bytes
    header = struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0)
    path = tmp_path / "gray.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"tRNS", struct.pack(">H", highest))
        + png_chunk(b"IDAT", zlib.compress(b"\0" + row))
        + png_chunk(b"IEND", b"")
    )
    picture = read_picture(path)
    assert picture.pixels[0, :, 0].tolist() == [255, *[0] * 7]
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, *[255] * 7]]
    assert read_rgb_or_gray(path)[0, 1:, 0].tolist() == [0] * 7
