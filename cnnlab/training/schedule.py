"""The learning rate as a function of the step, so that a resumed run needs no state for it."""

import math

from cnnlab.recipe.schema import OptimSection

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
STEP_DROPS = (0.5, 0.75)
TRIANGLE_START, TRIANGLE_PEAK, TRIANGLE_END = 0.2, 0.23, 0.07
"""lr · 0.2 at first, lr after 23 % of the steps, lr · 0.07 in the end."""
LOOKAHEAD_DECAY = 0.95


def learning_rate(optim: OptimSection, step: int, steps: int, steps_per_epoch: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    constant: lr. step: lr, a tenth of it after half, a hundredth after three quarters of the steps (He et al. 2016).
    cosine: lr · ½ (1 + cos π t) from 1 to 0 (Loshchilov and Hutter 2017). one-cycle: a linear rise from lr / 25 over
    the first 30 %, then the cosine's fall to 0 (Smith and Topin 2019). `warmup` epochs of linear rise from lr /
    (steps of warm-up) come first; under one-cycle they set the length of its rise. triangle: straight from lr / 5 to
    lr after 23 % of the steps, and straight down to 0.07 · lr (Jordan 2024).
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
