"""Mutated pictures, archives, CIFAR batches and IDX files."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from mutation import mutate_bytes
from PIL import Image

from cnnlab.data import cifar, idx, load
from cnnlab.errors import PictureError
from cnnlab.imaging.applying import FilterOptions, apply_kernel
from cnnlab.imaging.kernels import named_kernel
from cnnlab.imaging.pictures import read_picture, read_rgb_or_gray


def _encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    with io.BytesIO() as file:
        image.save(file, format_name, **options)
        return file.getvalue()


def small_pictures() -> list[bytes]:
    """Every format in its kinds: gray, colour, palette, alpha, 16 bits, CMYK, 1 bit, compressions, rotation, frames."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (19, 31, 3), dtype=np.uint8))
    smooth = noise.resize((40, 28), Image.Resampling.BICUBIC)
    gray, palette, alpha = smooth.convert("L"), smooth.quantize(32), smooth.copy()
    alpha.putalpha(gray)
    deep = Image.fromarray(rng.integers(0, 65_536, (19, 31), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [_encoded(image, "PNG") for image in (noise, gray, palette, alpha, deep, smooth.convert("1"))]
    pictures += [_encoded(image, "JPEG") for image in (smooth, gray, smooth.convert("CMYK"))]
    pictures += [_encoded(smooth, "JPEG", progressive=True, exif=exif.tobytes(), icc_profile=b"x" * 200)]
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        pictures.append(_encoded(smooth, "TIFF", compression=compression))
    pictures += [_encoded(smooth.convert("1"), "TIFF", compression="group4"), _encoded(deep, "TIFF")]
    pictures += [_encoded(alpha, "TIFF"), _encoded(palette, "TIFF"), _encoded(smooth.convert("CMYK"), "TIFF")]
    pictures += [_encoded(smooth, "WEBP"), _encoded(alpha, "WEBP", lossless=True, exif=exif.tobytes())]
    pictures += [_encoded(noise, "WEBP", save_all=True, append_images=[noise.transpose(Image.Transpose.ROTATE_180)])]
    return pictures + [_encoded(image, "BMP") for image in (noise, gray, palette, smooth.convert("1"))]


def with_right_sums(png: bytes) -> bytes:
    """A PNG whose chunks have the checksums that they should have, so that a mutation is read, not only noticed."""
    out, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        body = png[at + 4 : at + 8 + length]
        out += png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out)


class Pictures:
    """A small picture, changed; read as `filter` reads it, and as a data set does."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "x.png"
        self.pictures = small_pictures()
        self.kernel = named_kernel("sobel-x", {})

    def __call__(self, rng: random.Random) -> str:
        """Read one both ways: both can, or neither."""
        data = mutate_bytes(rng.choice(self.pictures), rng)
        if data[:4] == b"\x89PNG" and rng.random() < 0.7:
            data = with_right_sums(data)
        self.file.write_bytes(data)
        try:
            pixels = read_rgb_or_gray(data)
        except PictureError:
            pixels = None
        picture = read_picture(self.file)
        assert pixels is not None, "the data reader refused what filter reads"
        assert pixels.dtype == np.uint8
        assert pixels.shape[:2] == picture.pixels.shape[:2]
        if pixels.size < 100_000:
            apply_kernel(picture, self.kernel, FilterOptions(threads=1))
        return "read"


class Archives:
    """A small archive of pictures, changed, loaded as a data set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(1)
        members = {
            f"{part}/{label}/{index}.png": _encoded(
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)), "PNG"
            )
            for part in ("train", "test")
            for label in "ab"
            for index in range(3)
        }
        with io.BytesIO() as stored, io.BytesIO() as deflated, io.BytesIO() as plain:
            for file, method in ((stored, zipfile.ZIP_STORED), (deflated, zipfile.ZIP_DEFLATED)):
                with zipfile.ZipFile(file, "w", method) as archive:
                    for name, data in members.items():
                        archive.writestr(name, data)
            with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as packed:
                for name, data in members.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    member.pax_headers = {"comment": "猫"}
                    packed.addfile(member, io.BytesIO(data))
            self.archives = [(".zip", stored.getvalue()), (".zip", deflated.getvalue()), (".tar", plain.getvalue())]

    def __call__(self, rng: random.Random) -> str:
        """Load one; of tar archives some are gzipped after the change, some before."""
        ending, data = rng.choice(self.archives)
        if ending == ".zip" and rng.random() < 0.7:  # its directory lies at the end
            middle = data.rindex(b"PK\x01\x02", 0, len(data) - 200) if rng.random() < 0.5 else data.index(b"PK\x01\x02")
            data = data[:middle] + mutate_bytes(data[middle:], rng)
        else:
            data = mutate_bytes(data, rng)
        if ending == ".tar":
            data = _with_right_header_sums(data) if rng.random() < 0.5 else data
            if rng.random() < 0.5:
                ending, data = ".tar.gz", gzip.compress(data, 1)
                data = mutate_bytes(data, rng, 1) if rng.random() < 0.3 else data
        file = self.folder / f"x{ending}"
        file.write_bytes(data)
        return f"loaded {len(load(str(file), skip_bad=rng.random() < 0.7, allow_duplicates=True).classes)} classes"


def _with_right_header_sums(data: bytes) -> bytes:
    """A tar whose first header has the checksum that it should have."""
    header = bytearray(data[:512].ljust(512, b"\0"))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


class Batches:
    """A CIFAR batch or an IDX file, changed, read."""

    def __init__(self, folder: Path) -> None:
        import pickle

        self.file = folder / "x-ubyte.gz"
        rng = np.random.default_rng(2)
        batch = {
            b"labels": list(range(10)),
            b"data": rng.integers(0, 256, (10, 3072), dtype=np.uint8),
            b"filenames": [b"a.png"] * 10,
        }
        self.pickles = [pickle.dumps(batch, protocol) for protocol in (0, 2, 4)]
        self.idx = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (5, 7, 7)) + rng.bytes(245)

    def __call__(self, rng: random.Random) -> str:
        """Read one."""
        if rng.random() < 0.3:
            data = mutate_bytes(self.idx, rng)
            self.file.write_bytes(
                mutate_bytes(gzip.compress(data), rng, 2) if rng.random() < 0.3 else gzip.compress(data)
            )
            idx.read_idx(self.file, 3)
            return "idx"
        batch = cifar.unpickle(mutate_bytes(rng.choice(self.pickles), rng, 3), "x")
        cifar._part([("x", batch)], "labels", 10)
        return "batch"
