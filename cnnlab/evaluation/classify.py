"""Single pictures, named by their files, classified by a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.choices import DeviceName
from cnnlab.data.decoding import fit
from cnnlab.errors import DataError, MachineError, UsageError
from cnnlab.evaluation import measures, views
from cnnlab.evaluation.opened import AS_IT_IS, Changes, OpenRun, open_run
from cnnlab.files import is_file, is_folder
from cnnlab.imaging.pictures import SUFFIXES, is_clutter, read_rgb_or_gray
from cnnlab.text import counted, printable
from cnnlab.training.events import Loading, Notice, Tell, tell_nobody

TOP = 5


@dataclass(frozen=True)
class Prediction:
    """What a picture is taken for."""

    image: Path
    prediction: str
    confidence: float
    """Probability of the prediction, in [0, 1]."""
    top: tuple[tuple[str, float], ...]
    """The likeliest classes with their probabilities, at most `TOP`."""
    size: tuple[int, int]
    """(width, height) of the picture."""
    resized: bool
    """Whether it was cut to the run's proportions and resized to its size."""


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read."""

    image: Path
    problem: str


@dataclass(frozen=True)
class Classification:
    """The pictures of one call."""

    run: Path
    arch: str
    image_shape: tuple[int, int, int]
    """(H, W, C) that the net sees."""
    predictions: tuple[Prediction, ...]
    failures: tuple[Failure, ...]

    def document(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {
            "run": str(self.run),
            "arch": self.arch,
            "image_shape": list(self.image_shape),
            "predictions": [
                {
                    "image": str(found.image),
                    "prediction": found.prediction,
                    "confidence": found.confidence,
                    "top": [{"class": name, "confidence": confidence} for name, confidence in found.top],
                    "resized": found.resized,
                }
                for found in self.predictions
            ],
            "failed": [{"image": str(failure.image), "problem": failure.problem} for failure in self.failures],
        }


def classify(
    run: Path,
    images: Sequence[Path],
    *,
    changes: Changes = AS_IT_IS,
    device: DeviceName = "auto",
    trust_code: bool = False,
    tell: Tell = tell_nobody,
) -> Classification:
    """Classify pictures, each a file, or a folder whose pictures are meant.

    Every picture is brought to what the run was trained on: gray or RGB, its centre cut to the proportions, resized
    with Lanczos. One that cannot be read is listed among the failures; the others are classified.

    Raises:
        CheckpointError, UsageError, MachineError: as `cnnlab.evaluation.evaluate.evaluate`.
        DataError: a folder without pictures.
    """
    files = [file for image in images for file in _pictures_at(image, tell)]
    opened = open_run(run, changes, device=device, trust_code=trust_code)
    if not opened.finished:
        tell(Notice(f"the run is not finished: these are the weights of its best epoch so far, {opened.epoch}"))
    pixels, sizes, failures = _read(files, opened.image_shape, tell)
    predictions = _predict(opened, pixels, sizes, tell) if sizes else ()
    return Classification(run, opened.arch, opened.image_shape, predictions, failures)


def _pictures_at(image: Path, tell: Tell) -> list[Path]:
    """The picture itself, or those of a folder: links that lead out of it are not followed, and told."""
    if not is_folder(image):
        return [image]
    named = [
        path
        for path in image.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(is_clutter(step) for step in path.relative_to(image).parts)
        and is_file(path)
    ]
    inside = image.resolve()
    links = {path for path in named if path.is_symlink() and not path.resolve().is_relative_to(inside)}
    if links:
        leading_out = f"{counted(len(links), 'symbolic link')} ({printable(min(links))} …)"
        tell(Notice(f"not followed, since leading out of {printable(image)}: {leading_out}"))
    found = sorted(path for path in named if path not in links)
    if not found:
        raise DataError(
            f"the folder {printable(image)} holds no pictures",
            hint="These are read: " + ", ".join(sorted(set(SUFFIXES))),
        )
    return found


def _read(
    files: Sequence[Path], shape: tuple[int, int, int], tell: Tell
) -> tuple[list[np.ndarray], dict[Path, tuple[int, int]], tuple[Failure, ...]]:
    """Pixels (H, W, C) uint8 of each picture that can be read, their sizes by file, and the others."""
    pixels: list[np.ndarray] = []
    sizes: dict[Path, tuple[int, int]] = {}
    failures: list[Failure] = []
    for done, file in enumerate(dict.fromkeys(files), 1):
        try:
            image = read_rgb_or_gray(file, mode="L" if shape[2] == 1 else "RGB")
        except (DataError, MachineError) as error:
            failures.append(Failure(file, error.message))
        else:
            sizes[file] = (image.shape[1], image.shape[0])
            pixels.append(fit(image, shape[:2]))
        tell(Loading("reading pictures", done, len(files), "images"))
    return pixels, sizes, tuple(failures)


def _predict(
    run: OpenRun, pixels: list[np.ndarray], sizes: dict[Path, tuple[int, int]], tell: Tell
) -> tuple[Prediction, ...]:
    if run.image_shape[2] not in (1, 3):
        raise UsageError(f"pictures are gray or RGB; this run was trained on {run.image_shape[2]} channels")
    outputs = views.predict(run.engine, np.stack(pixels), tell, "classifying")
    probability = measures.probabilities(outputs, run.recipe.train.loss)
    order = np.argsort(-outputs, axis=1, kind="stable")[:, :TOP]  # by outputs: probabilities of mse are cut to [0, 1]
    height, width, _ = run.image_shape
    return tuple(
        Prediction(
            image=file,
            prediction=run.classes[best[0]],
            confidence=float(probability[row, best[0]]),
            top=tuple((run.classes[index], float(probability[row, index])) for index in best.tolist()),
            size=size,
            resized=size != (width, height),
        )
        for row, (best, (file, size)) in enumerate(zip(order, sizes.items(), strict=True))
    )
