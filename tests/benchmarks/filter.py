"""Correlation beside SciPy, Pillow and OpenCV on twelve megapixels, and the command beside a bare Python.

Every contender takes a (3000, 4000, 3) uint8 array and gives one back, with the same padding (reflect, without the
edge pixel; Pillow's kernels leave the border as it is) and the same cut to 0 … 255; cnnlab and OpenCV have the
threads asked for, the others know only one.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from measure import Mark, Measure, Row, Table, interleave, timed, times_as_fast, times_as_long
from PIL import Image, ImageFilter
from scipy import ndimage

from cnnlab.imaging.applying import filter_image
from cnnlab.imaging.kernels import Kernel, named_kernel

Contenders = dict[str, Callable[[], object]]

BARE = "import numpy; from PIL import Image; i = Image.open('result.png'); i.load(); i.save('bare.png')"
WHOLE_PROCESS = Mark(most=2.2)


def tables(*, rounds: int, threads: int) -> Iterator[Table]:
    """Measure the kernels, then the whole command."""
    cv2.setNumThreads(threads)
    pixels = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    rows = []
    for case, (contenders, marks) in _cases(pixels, threads).items():
        times = interleave({name: timed(run) for name, run in contenders.items()}, rounds)
        rows.append(Row(f"{case}: cnnlab", times["cnnlab"]))
        rows += [
            Row(f"{case}: {name}", times[name], times_as_fast(times["cnnlab"], times[name], rates=False),
                Mark(least=marks.get(name)))
            for name in contenders if name != "cnnlab"
        ]  # fmt: skip
    title = f"Filter: 3000×4000 pixels of three channels, {threads} threads, {rounds} rounds in turns"
    yield Table(title, "ms", "cnnlab is ×", rows)
    yield _whole_process(rounds)


def _cases(pixels: np.ndarray, threads: int) -> dict[str, tuple[Contenders, dict[str, float]]]:
    """For each case its contenders, and how many times as fast as each of them cnnlab has to be."""

    def cnnlab(kernel: Kernel) -> Callable[[], object]:
        return lambda: filter_image(pixels, kernel, response="clip", threads=threads)

    def three_by_three(kernel: Kernel) -> Contenders:
        matrix = kernel.matrices[0]
        image = Image.fromarray(pixels)
        pillow = ImageFilter.Kernel((3, 3), matrix.ravel().tolist(), scale=1)
        return {
            "cnnlab": cnnlab(kernel),
            "Pillow": lambda: np.asarray(image.filter(pillow)),
            "SciPy": _scipy_correlate(pixels, matrix),
            "OpenCV": lambda: cv2.filter2D(pixels, -1, matrix, borderType=cv2.BORDER_REFLECT_101),
        }

    whole, free = {"Pillow": 6.0, "SciPy": 5.0, "OpenCV": 0.27}, {"Pillow": 3.0, "SciPy": 4.0, "OpenCV": 0.2}
    random = np.random.default_rng(1).normal(size=(3, 3))
    gaussian, box = named_kernel("gaussian", {"size": 15}), named_kernel("blur", {"size": 61})
    return {
        "edge": (three_by_three(named_kernel("edge", {})), whole),
        "sobel-x": (three_by_three(named_kernel("sobel-x", {})), whole),
        "3×3 of floats": (three_by_three(Kernel("floats", (random,))), free),
        "gaussian 15": (
            {
                "cnnlab": cnnlab(gaussian),
                "SciPy": _scipy_correlate(pixels, gaussian.matrices[0]),
                "OpenCV": lambda: cv2.GaussianBlur(pixels, (15, 15), 0),
            },
            {"SciPy": 15.0},
        ),
        "box, radius 30": (
            {
                "cnnlab": cnnlab(box),
                "SciPy": lambda: ndimage.uniform_filter(pixels, (61, 61, 1), mode="mirror"),
                "OpenCV": lambda: cv2.blur(pixels, (61, 61), borderType=cv2.BORDER_REFLECT_101),
            },
            {"SciPy": 1.5},
        ),
    }


def _scipy_correlate(pixels: np.ndarray, matrix: np.ndarray) -> Callable[[], object]:
    def run() -> object:
        whole = bool((matrix == np.rint(matrix)).all())
        out = np.int16 if whole else np.float32
        response = ndimage.correlate(pixels, matrix[:, :, None], output=out, mode="mirror")
        return np.clip(response if whole else np.rint(response), 0, 255).astype(np.uint8)

    return run


def _whole_process(rounds: int) -> Table:
    """The command beside a bare Python that imports NumPy and Pillow and saves the same picture."""
    from sklearn.datasets import load_sample_image

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def process(*arguments: str) -> Measure:
            return timed(
                lambda: subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
            )

        Image.fromarray(load_sample_image("china.jpg")).save(folder / "photo.png")
        command = process("-m", "cnnlab", "filter", "photo.png", "--kernel", "sobel-x")
        command()
        # Both save what the command writes: how long the encoder takes depends on the picture.
        (folder / "photo-sobel-x.png").replace(folder / "result.png")
        times = interleave({"cnnlab": command, "bare": process("-c", BARE)}, 3 * rounds)
    rows = [
        Row("bare Python that saves the same picture", times["bare"]),
        Row("cnnlab filter, 427×640", times["cnnlab"], times_as_long(times["cnnlab"], times["bare"]), WHOLE_PROCESS),
    ]
    return Table(f"Filter: whole processes, {3 * rounds} rounds in turns", "ms", "times bare", rows)
