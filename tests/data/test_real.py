"""The real sets, where they are at hand: CIFAR-10 as JPEG, Fashion-MNIST from Debian's package."""

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import Augmentation, draw, load, pick, sample, split

pytestmark = pytest.mark.realdata

ARCHIVE = Path(os.environ.get("CNNLAB_TEST_CIFAR") or Path(__file__).parents[3] / "shared/data/cifar10-jpeg.tar.gz")
FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture
def archive():
    if not ARCHIVE.is_file():
        pytest.skip(f"CIFAR-10 (JPEG) is not at {ARCHIVE}; CNNLAB_TEST_CIFAR may name it")
    return ARCHIVE


def test_cifar10_as_jpeg(archive):
    data = load(str(archive))
    assert data.name == "cifar10-jpeg"
    assert data.notices == ()
    assert data.image_shape == (32, 32, 3)
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    with tarfile.open(archive) as opened:
        for _ in range(30):
            member = opened.next()
            if member.isfile():
                part = data.parts[member.name.split("/")[0]]
                index = part.names.index(member.name)
                assert (np.asarray(Image.open(opened.extractfile(member))) == part.images[index]).all()
                assert data.classes[part.labels[index]] == member.name.split("/")[1]
    train, val = split(data.train, 0.1, seed=0)
    assert (len(train), len(val)) == (45000, 5000)
    assert np.bincount(sample(train, 5000, seed=0).labels).tolist() == [500] * 10
    # The second start, process and all.
    code = f"import cnnlab.data as d; print(d.load({str(archive)!r}).fingerprint)"
    started = time.monotonic()
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    assert again.stdout.strip() == data.fingerprint
    assert seconds < 2


def test_a_batch_costs_little(archive):
    """128 pictures, crop and flip: the budget is 1.5 ms; half as much is usual, and the machine may be busy."""
    data, rng, times = load(str(archive)), np.random.default_rng(0), []
    for _ in range(200):
        indices = rng.integers(0, 50000, 128)
        started = time.perf_counter()
        pick(data.train.images, draw((32, 32), indices, Augmentation(crop=4, flip=True), rng))
        times.append(time.perf_counter() - started)
    assert np.median(times) < 1.5e-3


def test_fashion_mnist_of_debian(monkeypatch):
    if not FASHION.is_dir():
        pytest.skip(f"Debian's package dataset-fashion-mnist is not installed ({FASHION})")
    monkeypatch.delenv("XDG_DATA_DIRS")
    data = load("fashion-mnist", offline=True)
    assert (len(data.train), len(data.test)) == (60000, 10000)
    assert data.notices == ()
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
