"""Learning rate and image size as functions of the step, so that a resumed run needs no state for them."""

import math
from dataclasses import dataclass

from cnnlab.recipe.schema import OptimSection, TrainSection

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
STEP_DROPS = (0.5, 0.75)
TRIANGLE_START, TRIANGLE_PEAK, TRIANGLE_END = 0.2, 0.23, 0.07
"""lr · 0.2 at first, lr after 23 % of the steps, lr · 0.07 in the end."""
LOOKAHEAD_DECAY = 0.95
LEAST_SIDE = 16
"""Smaller images are cheap as they are, and some nets would pool them to nothing."""
STEPS_OF_SCALE = 8
"""Images grow by so many parts of their side at a time: by 4 pixels where they have 32."""


def learning_rate(optim: OptimSection, step: int, steps: int, steps_per_epoch: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    constant: lr. step: lr, a tenth of it after half, a hundredth after three quarters of the steps (He et al. 2016).
    linear: straight from lr to 0. cosine: lr · ½ (1 + cos π t) from 1 to 0 (Loshchilov and Hutter 2017). one-cycle: a
    linear rise from lr / 25 over the first 30 %, then the cosine's fall to 0 (Smith and Topin 2019). `warmup` epochs of
    linear rise from lr / (steps of warm-up) come first; under one-cycle they set the length of its rise. triangle:
    straight from lr / 5 to lr after 23 % of the steps, and straight down to 0.07 · lr (Jordan 2024).
    """
    if optim.schedule == "triangle":
        peak = TRIANGLE_PEAK * steps
        if step < peak:
            return optim.lr * (TRIANGLE_START + (1 - TRIANGLE_START) * step / peak)
        return optim.lr * (1 - (1 - TRIANGLE_END) * (step - peak) / (steps - peak))
    rise = round((optim.warmup or 0.0) * steps_per_epoch)
    if optim.schedule == "one-cycle":
        rise = rise if optim.warmup is not None else round(ONE_CYCLE_RISE * steps)
        rise = min(rise, steps)
        if step < rise:
            return optim.lr * (ONE_CYCLE_START + (1 - ONE_CYCLE_START) * step / rise)
    elif step < rise:
        return optim.lr * (step + 1) / rise
    progress = (step - rise) / max(1, steps - rise)
    if optim.schedule == "constant":
        return optim.lr
    if optim.schedule == "step":
        return optim.lr * 0.1 ** sum(step >= drop * steps for drop in STEP_DROPS)
    if optim.schedule == "linear":
        return optim.lr * (1 - progress)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * progress))


def lookahead_decay(every: int, done: int, steps: int) -> float | None:
    """The share that the slow average keeps when weights and average are drawn together; None: not after this step.

    0.95^every · (done / steps)³, and 1 after the last step: the net then is its slow average (Jordan 2024).

    Args:
        every: `train.lookahead`.
        done: steps done, from 1.
        steps: of the whole training.
    """
    if done == steps and every:
        return 1.0
    if not every or done % every:
        return None
    return LOOKAHEAD_DECAY**every * (done / steps) ** 3


def lowest_rate(train: TrainSection, optim: OptimSection, step: int, steps: int, steps_per_epoch: int) -> float | None:
    """The learning rate of the layers up to `train.freeze_up_to`; None: no layers are meant.

    They have the whole schedule in the part `train.freeze_from` of the steps: they come to rest before they are frozen,
    at a rate of 0 (Brock et al. 2017).
    """
    if train.freeze_up_to is None:
        return None
    end = math.ceil(train.freeze_from * steps)
    return learning_rate(optim, step, end, steps_per_epoch) if step < end else 0.0


def rests(train: TrainSection, step: int, steps: int) -> bool:
    """Whether the layers up to `train.rest_up_to` rest in this step, counted from 0 over the whole training."""
    return train.rest_up_to is not None and step % 2 == 1 and step < train.rest_until * steps


@dataclass(frozen=True)
class Growth:
    """The scale of training images over a run: small ones are cheap, and the first steps need no detail.

    From `initial` in equal times by an eighth of the full side each, full from the part `full_from` of the steps on
    (after Howard, DAWNBench 2018: "progressive resizing").
    """

    initial: float = 1.0
    full_from: float = 0.0

    @classmethod
    def of(cls, train: TrainSection, full: tuple[int, int] | None = None) -> "Growth":
        """As `train.initial_scale` and `train.full_scale_from` say.

        Where the recipe was not resolved for its data, `full` is the images' size: no side begins below `LEAST_SIDE`.
        """
        least = min(1.0, LEAST_SIDE / min(full)) if full else 0.0
        return cls(max(train.initial_scale, least), train.full_scale_from)

    @property
    def _pieces(self) -> list[tuple[float, float]]:
        """The part of the steps from which on each scale holds, and the scale, ascending; the last is 1."""
        count = math.ceil((1 - self.initial) * STEPS_OF_SCALE - 1e-9)
        small = [(self.full_from * number / count, self.initial + number / STEPS_OF_SCALE) for number in range(count)]
        return [*small, (self.full_from if small else 0.0, 1.0)]

    def scale(self, done: float) -> float:
        """The scale when the part `done`, in [0, 1], of the steps is done."""
        return next(scale for start, scale in reversed(self._pieces) if done >= start)

    def size(self, full: tuple[int, int], done: float) -> tuple[int, int] | None:
        """Height and width in pixels of images of size `full` then; None: full."""
        size = _scaled(full, self.scale(done))
        return None if size == full else size

    def sizes(self, full: tuple[int, int]) -> list[tuple[int, int]]:
        """Every size below `full` that occurs, smallest first."""
        sizes = dict.fromkeys(_scaled(full, scale) for _, scale in self._pieces)
        return [size for size in sizes if size != full]

    @property
    def part_of_full(self) -> float:
        """A whole run's work, as a part of what it would be on full images."""
        return self._work(1.0)

    def work(self, done: float) -> float:
        """The part of a run's work that is over when the part `done` of the steps is: work goes with the pixels."""
        return self._work(done) / self.part_of_full

    def epoch(self, epoch: int, epochs: int) -> float:
        """The part of the work of all `epochs` that lies in `epoch` (from 1)."""
        return self.work(epoch / epochs) - self.work((epoch - 1) / epochs)

    def _work(self, done: float) -> float:
        pieces = self._pieces
        ends = [*(start for start, _ in pieces[1:]), 1.0]
        return sum(
            scale**2 * max(0.0, min(done, end) - start) for (start, scale), end in zip(pieces, ends, strict=True)
        )


FULL_SIZE = Growth()
"""Images that do not grow."""


def _scaled(full: tuple[int, int], scale: float) -> tuple[int, int]:
    return round(full[0] * scale), round(full[1] * scale)
