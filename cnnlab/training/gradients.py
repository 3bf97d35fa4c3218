"""`--gradients`: how much of δ and ∂J/∂w arrives at each layer, before training and after each epoch."""

import json
from dataclasses import asdict, fields

from cnnlab.data import sample
from cnnlab.files import write_atomically
from cnnlab.training.engines.base import LayerGradient
from cnnlab.training.prepare import Prepared
from cnnlab.training.run_folder import RunFolder, read_lines

PROBE = 256
"""Training pictures on which the gradients are measured, the same in every epoch."""
KEYS = {"epoch"} | {field.name for field in fields(LayerGradient)}


class GradientLog:
    """`gradients.jsonl` and `gradients.png` of a run."""

    def __init__(self, folder: RunFolder, prepared: Prepared) -> None:
        self.folder = folder
        self.engine = prepared.engine
        self.probe = sample(prepared.train, PROBE, prepared.recipe.seed)
        self.rows: list[dict[str, object]] = []

    def keep(self, epoch: int) -> None:
        """Keep what was recorded up to `epoch`, and drop what is newer, as a resumed run does."""
        self.rows = [row for row in read_lines(self.folder.gradients, KEYS) if row["epoch"] <= epoch]

    def record(self, epoch: int) -> None:
        """Measure now and write; epoch 0 is before the first step."""
        layers = self.engine.layer_gradients(self.probe.images, self.probe.labels)
        self.rows += [{"epoch": epoch, **asdict(layer)} for layer in layers]
        write_atomically(self.folder.gradients, "".join(json.dumps(row) + "\n" for row in self.rows))

    def draw(self, title: str) -> None:
        """Draw gradients.png."""
        from cnnlab.report.figures import draw_gradients

        draw_gradients(self.folder.path / "gradients.png", self.rows, title)
