"""Correlation beside SciPy, Pillow and OpenCV: `pytest -m bench tests/benchmarks/bench_filter.py -s`.

Every contender takes a (3000, 4000, 3) uint8 array and gives one back, with the same padding (reflect, without the
edge pixel; Pillow's kernels leave the border as it is) and the same cut to 0 … 255; cnnlab and OpenCV have two
threads, the others know only one. Rounds are interleaved, the median of 5 counts. The command is timed too, as a
whole process, beside a bare Python that imports NumPy and Pillow and saves the same picture.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from cnnlab.imaging.applying import filter_image
from cnnlab.imaging.kernels import Kernel, named_kernel

Contenders = dict[str, Callable[[], object]]
pytestmark = pytest.mark.bench

ROUNDS = 5
THREADS = 2
BARE = "import numpy; from PIL import Image; i = Image.open('result.png'); i.load(); i.save('bare.png')"
MARK_PROCESS = 2.2


def medians(contenders: Contenders, rounds: int) -> dict[str, float]:
    """Median seconds of each contender, rounds interleaved, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def cnnlab(pixels: np.ndarray, kernel: Kernel) -> Callable[[], object]:
    return lambda: filter_image(pixels, kernel, response="clip", threads=THREADS)


def scipy_correlate(pixels: np.ndarray, matrix: np.ndarray) -> Callable[[], object]:
    def run() -> object:
        whole = bool((matrix == np.rint(matrix)).all())
        out = np.int16 if whole else np.float32
        response = ndimage.correlate(pixels, matrix[:, :, None], output=out, mode="mirror")
        return np.clip(response if whole else np.rint(response), 0, 255).astype(np.uint8)

    return run


def three_by_three(pixels: np.ndarray, kernel: Kernel) -> Contenders:
    matrix = kernel.matrices[0]
    image = Image.fromarray(pixels)
    pillow = ImageFilter.Kernel((3, 3), matrix.ravel().tolist(), scale=1)
    return {
        "cnnlab": cnnlab(pixels, kernel),
        "pillow": lambda: np.asarray(image.filter(pillow)),
        "scipy": scipy_correlate(pixels, matrix),
        "opencv": lambda: cv2.filter2D(pixels, -1, matrix, borderType=cv2.BORDER_REFLECT_101),
    }


def cases(pixels: np.ndarray) -> dict[str, tuple[Contenders, dict[str, float]]]:
    """For each case its contenders, and how many times as fast as each of them cnnlab has to be."""
    whole, free = {"pillow": 6.0, "scipy": 5.0, "opencv": 0.27}, {"pillow": 3.0, "scipy": 4.0, "opencv": 0.2}
    random = np.random.default_rng(1).normal(size=(3, 3))
    gaussian, box = named_kernel("gaussian", {"size": 15}), named_kernel("blur", {"size": 61})
    return {
        "edge": (three_by_three(pixels, named_kernel("edge", {})), whole),
        "sobel-x": (three_by_three(pixels, named_kernel("sobel-x", {})), whole),
        "3×3 of floats": (three_by_three(pixels, Kernel("floats", (random,))), free),
        "gaussian 15": (
            {
                "cnnlab": cnnlab(pixels, gaussian),
                "scipy": scipy_correlate(pixels, gaussian.matrices[0]),
                "opencv": lambda: cv2.GaussianBlur(pixels, (15, 15), 0),
            },
            {"scipy": 15.0},
        ),
        "box, radius 30": (
            {
                "cnnlab": cnnlab(pixels, box),
                "scipy": lambda: ndimage.uniform_filter(pixels, (61, 61, 1), mode="mirror"),
                "opencv": lambda: cv2.blur(pixels, (61, 61), borderType=cv2.BORDER_REFLECT_101),
            },
            {"scipy": 1.5},
        ),
    }


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    cv2.setNumThreads(THREADS)
    return np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["edge", "sobel-x", "3×3 of floats", "gaussian 15", "box, radius 30"])
def test_twelve_megapixels(pixels: np.ndarray, name: str) -> None:
    contenders, marks = cases(pixels)[name]
    seconds = medians(contenders, ROUNDS)
    print(f"\n{name}: " + ", ".join(f"{who} {value * 1e3:.1f} ms" for who, value in seconds.items()))
    ratios = {who: seconds[who] / seconds["cnnlab"] for who in marks}
    for who, ratio in ratios.items():
        print(f"    {ratio:.2f} times as fast as {who} (mark {marks[who]:g})")
    assert all(ratio >= marks[who] for who, ratio in ratios.items())


def test_whole_process(tmp_path: Path) -> None:
    from sklearn.datasets import load_sample_image

    Image.fromarray(load_sample_image("china.jpg")).save(tmp_path / "photo.png")
    command = [sys.executable, "-m", "cnnlab", "filter", "photo.png", "--kernel", "sobel-x"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    # Both save what the command writes: how long the encoder takes depends on the picture.
    (tmp_path / "photo-sobel-x.png").replace(tmp_path / "result.png")

    def run(words: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)

    seconds = medians({"cnnlab": run(command), "bare": run([sys.executable, "-c", BARE])}, 3 * ROUNDS)
    ratio = seconds["cnnlab"] / seconds["bare"]
    print(f"\nwhole process: cnnlab {seconds['cnnlab'] * 1e3:.0f} ms, bare {seconds['bare'] * 1e3:.0f} ms")
    print(f"    {ratio:.2f} times the bare one (mark {MARK_PROCESS})")
    assert ratio <= MARK_PROCESS
