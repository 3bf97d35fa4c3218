"""The built-in set: the 1,797 real 8×8 digits that scikit-learn ships (UCI, Optical Recognition of Digits)."""

import gzip

import numpy as np

from cnnlab.data.dataset import Part
from cnnlab.machine import file_of_package

LEVELS = 16
"""The file's pixels are 0 … 16."""


def read_digits() -> Part:
    """All digits: images (1797, 8, 8, 1) uint8, scaled from 0 … 16 to 0 … 255; labels (1797,) int64.

    Reads scikit-learn's own file, since importing scikit-learn takes longer than training on the digits' first
    hundred batches; asks scikit-learn itself where that file has moved.
    """
    table = _table()  # (1797, 65): 64 pixels and the label
    pixels = np.rint(table[:, :-1] * (255 / LEVELS)).astype(np.uint8)
    return Part(pixels.reshape(-1, 8, 8, 1), table[:, -1].astype(np.int64))


def _table() -> np.ndarray:
    file = file_of_package("sklearn", "datasets", "data", "digits.csv.gz")
    if file is not None:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            return np.loadtxt(lines, delimiter=",")
    from sklearn.datasets import load_digits

    data, target = load_digits(return_X_y=True)
    return np.column_stack([data, target])
