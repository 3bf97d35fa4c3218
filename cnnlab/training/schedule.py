"""The learning rate as a function of the step, so that a resumed run needs no state for it."""

import math

from cnnlab.recipe.schema import OptimSection

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
STEP_DROPS = (0.5, 0.75)


def learning_rate(optim: OptimSection, step: int, steps: int, steps_per_epoch: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    constant: lr. step: lr, a tenth of it after half, a hundredth after three quarters of the steps (He et al. 2016).
    cosine: lr · ½ (1 + cos π t) from 1 to 0 (Loshchilov and Hutter 2017). one-cycle: a linear rise from lr / 25 over
    the first 30 %, then the cosine's fall to 0 (Smith and Topin 2019). `warmup` epochs of linear rise from lr /
    (steps of warm-up) come first; under one-cycle they set the length of its rise.
    """
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
