"""The product's own loop: an epoch of `cnnlab train`, measured as its metrics measure it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from workload import recipe

from cnnlab.data import DataSet, Part
from cnnlab.training.prepare import prepare
from cnnlab.training.processes import joined
from cnnlab.training.run import Run
from cnnlab.training.run_folder import RunFolder
from cnnlab.training.saving import Midway, Progress
from cnnlab.training.settings import Settings


def epochs(images: np.ndarray, labels: np.ndarray, threads: int, variant: str) -> Iterator[float]:
    """Each epoch's images/s; the two figures on the training sample, too, are taken as always, but not counted."""
    part = Part(images, labels)
    data = DataSet("bench", tuple(map(str, range(10))), part, None, part.take(np.arange(10)), True, "0" * 64)
    chosen = recipe().model_copy(update={"threads": threads})
    with joined("cpu") as world:
        prepared = prepare(chosen, Settings(device="cpu"), data, world)
        run = Run(prepared, RunFolder(Path()), Progress(), lambda event: None)
        for number in range(1, chosen.train.epochs + 1):
            run.progress.midway = Midway()
            yield run.epoch(number).images_per_s
