"""The IDX files of MNIST and Fashion-MNIST, plain or gzipped (format: yann.lecun.com/exdb/mnist)."""

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from cnnlab.data.archives import MAX_MEMBERS, check_ratio, most_unfolded
from cnnlab.data.dataset import Part
from cnnlab.errors import DataError, MachineError
from cnnlab.reading import open_file
from cnnlab.text import printable

FILES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
"""Images and labels of train and of test; each may end in .gz."""

_UBYTE = 8
_MAX_BYTES = 1 << 30


def find_idx(folder: Path) -> list[Path] | None:
    """The four files in `folder`, in the order of `FILES`; None where one is missing."""
    found = []
    for name in (name for pair in FILES for name in pair):
        candidates = [folder / name, folder / f"{name}.gz"]
        file = next((candidate for candidate in candidates if candidate.is_file()), None)
        if file is None:
            return None
        found.append(file)
    return found


def read_parts(files: list[Path], classes: int) -> tuple[Part, Part]:
    """(train, test) of the four files: images (N, H, W, 1) uint8, labels (N,) int64.

    Raises:
        DataError: a file that is not IDX, is cut short, or does not fit its partner.
        MachineError: a file that cannot be read.
    """
    train_images, train_labels, test_images, test_labels = files
    return _part(train_images, train_labels, classes), _part(test_images, test_labels, classes)


def _part(images_file: Path, labels_file: Path, classes: int) -> Part:
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{printable(images_file.name)} holds {len(images)} images, "
            f"{printable(labels_file.name)} {len(labels)} labels",
            hint=f"Get both files again into {printable(images_file.parent)}",
        )
    if len(labels) and labels.max() >= classes:
        raise DataError(f"{printable(labels_file)}: expected labels 0 to {classes - 1}, received {labels.max()}")
    return Part(images[..., None], labels.astype(np.int64))


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """The array of one IDX file of unsigned bytes with `dimensions` dimensions.

    Raises:
        DataError: another type or number of dimensions, no data, more or fewer bytes than the header declares, too
            much of either.
        MachineError: the file cannot be read.
    """
    header = 4 + 4 * dimensions
    data = _bytes(file, header)
    if len(data) < header or data[:4] != bytes([0, 0, _UBYTE, dimensions]):
        raise DataError(
            f"{printable(file)} is no IDX file of unsigned bytes with {dimensions} dimensions: "
            f"it starts with {data[:4]!r}",
            hint="Get the file again",
        )
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, header, 4)]
    size = int(np.prod(shape, dtype=object))  # Python integers: four bytes each may overflow 64 bits together
    if size > _MAX_BYTES:
        raise DataError(f"{printable(file)} is damaged: it declares {size} bytes, at most {_MAX_BYTES:,} are read")
    if shape[0] > MAX_MEMBERS:  # a label becomes eight bytes, a picture an object of Python's now and then
        raise DataError(
            f"{printable(file)} is damaged: it declares {shape[0]:,} items, at most {MAX_MEMBERS:,} are read",
            hint="Get the file again",
        )
    data = _bytes(file, header + size)
    if size != len(data) - header or not size:
        held = f"{len(data) - header}" + (" or more" if len(data) > header + size else "")
        raise DataError(
            f"{printable(file)} is cut short or damaged: its header declares {size} bytes, it holds {held}",
            hint="Get the file again",
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _bytes(file: Path, wanted: int) -> bytes:
    """The first `wanted` bytes of the (unzipped) file, and one more where there are more.

    Raises:
        DataError: damaged, or a bomb, of which no more is unfolded than shows it.
    """
    try:
        with open_file(file) as raw, gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw as opened:
            packed = os.fstat(raw.fileno()).st_size
            data = opened.read(min(wanted, most_unfolded(packed)) + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{printable(file)} is cut short or damaged: {printable(error)}", hint="Get the file again"
        ) from error
    except OSError as error:
        raise MachineError(f"cannot read {printable(file)}: {error.strerror}") from error
    check_ratio(file, len(data), packed)
    return data
