"""`cnnlab.compare`: the command as a function."""

from collections.abc import Iterable
from inspect import signature
from typing import Any

from cnnlab.choices import Band, Match, XAxis
from cnnlab.comparison.compare import compare as run
from cnnlab.comparison.events import Tell
from cnnlab.comparison.plan import Options
from cnnlab.comparison.result import Comparison
from cnnlab.recipe.load import short_flags
from cnnlab.training.events import tell_nobody
from cnnlab.training.settings import Settings


def compare(
    *specs: str,
    seeds: int = 1,
    match: Match | None = None,
    band: Band = "min-max",
    x: XAxis = "epoch",
    set: Iterable[str] = (),  # the flag's name
    data: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    precision: str | None = None,
    threads: int | None = None,
    max_minutes: float | None = None,
    skip_bad: bool = False,
    allow_duplicates: bool = False,
    tell: Tell = tell_nobody,
    trust_code: bool = False,
    **settings: Any,
) -> Comparison:
    """Compare nets as `cnnlab compare` does.

    Args:
        specs: two contestants or more (`"mlp:depth=4"`, `"wide=cnn:width=64"`, a run's folder).
        seeds: how many seeds, from `seed` on.
        match: `"params"` or `"macs"`: every width so that the cost is within 2 % of the first contestant's.
        band: `"min-max"`, `"sd"` or `"ci"`, in the figures.
        x: `"epoch"` or `"seconds"`, in the figures.
        set: `"section.key=value"` strings, for every recipe.
        data, epochs, batch_size, lr, seed, precision, threads, max_minutes, skip_bad, allow_duplicates: the short
            flags.
        tell: receives the events of `cnnlab.comparison.events`.
        settings: fields of `cnnlab.training.settings.Settings`: out, name, device, engine, gradients, …

    Returns:
        The comparison: contestants with their runs, the tests of every pair, `answer`, `document()`.

    Raises:
        CnnlabError: as the command fails; `exit_code` says with which code.
    """
    flags = short_flags(
        data=data,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        precision=precision,
        threads=threads,
        max_minutes=max_minutes,
        skip_bad=skip_bad,
        allow_duplicates=allow_duplicates,
    )
    options = Options(seeds, match, band, x, tuple(set), flags, trust_code)
    return run(specs, options, Settings.of(signature(compare).parameters.keys() - {"settings"}, **settings), tell)
