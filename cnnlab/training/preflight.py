"""Pre-flight (`train --check`): a few seconds that tell whether a training can work at all."""

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from cnnlab.data import sample
from cnnlab.errors import NumericError
from cnnlab.recipe.schema import AugmentSection, Recipe
from cnnlab.training import metrics
from cnnlab.training.engines.base import Batch, LayerGradient, StepKey
from cnnlab.training.events import Notice, Tell, tell_nobody
from cnnlab.training.prepare import Prepared, load_data, prepare
from cnnlab.training.schedule import TRIANGLE_START
from cnnlab.training.settings import Settings

BY_HEART = 20
"""Images that any net must be able to learn by heart."""
MAX_STEPS = 400
MAX_SECONDS = 60.0
SURE = {"cross-entropy": math.log(2), "mse": 0.25}
"""A picture that is taken for a wrong class has at least this loss: a smaller sum over all means that all are right."""
FIRST_LOSS_FACTOR = 0.5
"""The first loss may differ from chance by this part of it: more means an unlucky scale of the outputs."""
PROBE = 256


@dataclass(frozen=True)
class Verdict:
    """One check: what was measured, what was expected, whether it is well."""

    check: str
    measured: str
    expected: str
    passed: bool
    advice: str
    """What to do where it is not."""


@dataclass(frozen=True)
class Preflight:
    """All verdicts, and the gradients layer by layer before training."""

    verdicts: tuple[Verdict, ...]
    layers: tuple[LayerGradient, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(verdict.passed for verdict in self.verdicts)

    def document(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "passed": self.passed,
            "checks": [asdict(verdict) for verdict in self.verdicts],
            "layers": [asdict(layer) for layer in self.layers],
            "seconds": round(self.seconds, 3),
        }

    def failure(self) -> NumericError | None:
        """The error that names every check that failed; None where all passed."""
        failed = [verdict for verdict in self.verdicts if not verdict.passed]
        if not failed:
            return None
        return NumericError(
            "pre-flight failed: " + "; ".join(f"{verdict.check}: {verdict.measured}" for verdict in failed),
            hint="\n".join(verdict.advice for verdict in failed),
        )


def preflight(recipe: Recipe, settings: Settings, tell: Tell = tell_nobody) -> Preflight:
    """Check the first loss, the layers and the ability to learn 20 images by heart; nothing is written."""
    plain = recipe.data.model_copy(update={"augment": AugmentSection()})
    train = recipe.train.model_copy(update={"ema": 0.0, "label_smoothing": 0.0})
    recipe = recipe.model_copy(update={"data": plain, "train": train})
    data = load_data(recipe, replace(settings, gradients=False), tell)
    started = time.perf_counter()
    prepared = prepare(recipe, settings, data)
    for notice in prepared.notices:
        tell(Notice(notice))
    probe = sample(prepared.train, PROBE, recipe.seed)
    layers = prepared.engine.layer_gradients(probe.images, probe.labels)
    # A step gives the loss in training mode, where batch normalisation uses the batch: in evaluation mode it would use
    # statistics that nothing has measured yet. Muon gives weights their norm even at learning rate 0: hence put back.
    begun = prepared.engine.weights()
    first_loss = float(prepared.engine.step(Batch(probe.images, probe.labels), 0.0, StepKey(recipe.seed, 0, 0)))
    prepared.engine.load_weights(begun)
    verdicts = (
        _first_loss(first_loss, len(data.classes), recipe.train.loss),
        _dead_layers(layers),
        _by_heart(prepared),
    )
    return Preflight(verdicts, tuple(layers), time.perf_counter() - started)


def _first_loss(loss: float, classes: int, kind: str) -> Verdict:
    """A net that knows nothing gives each class the same share: −ln(1/classes), or ½ Σ (a − y)² of zeros = ½."""
    chance, formula = (math.log(classes), f"ln {classes}") if kind == "cross-entropy" else (0.5, "½, all outputs 0")
    passed = math.isfinite(loss) and abs(loss - chance) <= FIRST_LOSS_FACTOR * chance
    return Verdict(
        "first loss",
        f"{loss:.3f}",
        f"near {chance:.3f} ({formula})",
        passed,
        "First loss: the initial weights are too large for the outputs; try --set model.init=auto",
    )


def _dead_layers(layers: list[LayerGradient]) -> Verdict:
    """A layer is dead where no gradient arrives, or where every unit's f′ is 0 for every image."""
    dead = [
        layer.layer
        for layer in layers
        if not (math.isfinite(layer.weight_rms) and layer.weight_rms > 0) or layer.dead == 1.0
    ]
    return Verdict(
        "no dead layer",
        f"{len(dead)} dead: {', '.join(dead[:3])}" if dead else f"0 of {len(layers)} dead",
        "gradient in every layer",
        not dead,
        "Dead layers: another activation or initialisation, or normalisation",
    )


def _by_heart(prepared: Prepared) -> Verdict:
    """Train on 20 images, always the same, with the recipe's own optimiser at its full learning rate.

    Of a triangle, at the rate that it rises from: its height is for nets that have risen to it. Of Muon at the same
    part: its steps are of one length whatever the gradient, so at a full rate that never falls it comes to no rest.
    """
    few = sample(prepared.train, BY_HEART, prepared.recipe.seed)
    optim = prepared.recipe.optim
    lr = optim.lr * (TRIANGLE_START if optim.schedule == "triangle" or optim.name == "muon" else 1.0)
    started = time.perf_counter()
    enough = SURE[prepared.recipe.train.loss] / len(few)
    batch, right, step = Batch(few.images, few.labels), 0.0, 0
    try:
        for step in range(1, MAX_STEPS + 1):
            loss = float(prepared.engine.step(batch, lr, StepKey(prepared.recipe.seed, 0, step)))
            if not math.isfinite(loss):  # so a GPU tells what a CPU raises
                return _heart_verdict("the loss or a gradient became not finite", passed=False)
            if loss < enough:
                right = 1.0
                break
            if step % 20 == 0:
                right = metrics.accuracy(prepared.engine.predict(few.images), few.labels)
                if right == 1.0 or time.perf_counter() - started > MAX_SECONDS:
                    break
    except NumericError as error:
        return _heart_verdict(error.message, passed=False)
    count = round(right * len(few))
    return _heart_verdict(f"{count} of {len(few)} after {step} steps", passed=right == 1.0)


def _heart_verdict(measured: str, *, passed: bool) -> Verdict:
    return Verdict(
        f"{BY_HEART} images by heart",
        measured,
        f"all within {MAX_STEPS} steps",
        passed,
        "By heart: another learning rate (--lr), less dropout, another activation or normalisation, fewer layers",
    )
