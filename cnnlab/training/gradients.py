"""`--gradients`: how much of δ and ∂J/∂w arrives at each layer, before training and after each epoch."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from cnnlab.data import sample
from cnnlab.files import write_atomically
from cnnlab.training.engines.base import LayerGradient
from cnnlab.training.prepare import Prepared
from cnnlab.training.run_folder import RunFolder, is_number, read_lines

PROBE = 256
"""Training pictures on which the gradients are measured, the same in every epoch."""
_MAY_BE_NULL = {"slope", "dead"}


def recorded(folder: RunFolder) -> list[dict[str, Any]]:
    """The rows of gradients.jsonl, up to the first that no training wrote: epoch from 0, and a `LayerGradient`."""
    rows = read_lines(folder.gradients, {"epoch"} | {field.name for field in fields(LayerGradient)})
    return list(itertools.takewhile(_is_row, rows))


def _is_row(row: Mapping[str, Any]) -> bool:
    numbers = {key: value for key, value in row.items() if key not in ("epoch", "layer")}
    return (
        type(row["epoch"]) is int
        and isinstance(row["layer"], str)
        and all(is_number(value) or (value is None and key in _MAY_BE_NULL) for key, value in numbers.items())
    )


class GradientLog:
    """`gradients.jsonl` and `gradients.png` of a run."""

    def __init__(self, folder: RunFolder, prepared: Prepared) -> None:
        self.folder = folder
        self.engine = prepared.engine
        self.probe = sample(prepared.train, PROBE, prepared.recipe.seed)
        self.rows: list[dict[str, Any]] = []

    def keep(self, epoch: int) -> None:
        """Keep what was recorded up to `epoch`, and drop what is newer, as a resumed run does."""
        self.rows = [row for row in recorded(self.folder) if row["epoch"] <= epoch]

    def record(self, epoch: int) -> None:
        """Measure now and write; epoch 0 is before the first step."""
        layers = self.engine.layer_gradients(self.probe.images, self.probe.labels)
        self.rows += [{"epoch": epoch, **asdict(layer)} for layer in layers]
        write_atomically(self.folder.gradients, "".join(json.dumps(row) + "\n" for row in self.rows))

    def draw(self, title: str) -> None:
        """Draw gradients.png, where anything is recorded."""
        if not self.rows:
            return
        from cnnlab.report.figures import draw_gradients

        draw_gradients(self.folder.path / "gradients.png", self.rows, title)
