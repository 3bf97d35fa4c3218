"""`cnnlab.compare`: the command as a function."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cnnlab.comparison.compare import compare as run
from cnnlab.comparison.events import Tell, tell_nobody
from cnnlab.comparison.plan import Options
from cnnlab.comparison.result import Band, Comparison, Match, XAxis
from cnnlab.recipe.spec import Scalar
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
        data, epochs, batch_size, lr, seed, precision, threads: the short flags.
        tell: receives the events of `cnnlab.comparison.events`.
        settings: fields of `cnnlab.training.settings.Settings`: out, name, device, engine, gradients, …

    Returns:
        The comparison: contestants with their runs, the tests of every pair, `answer`, `document()`.

    Raises:
        CnnlabError: as the command fails; `exit_code` says with which code.
    """
    paths: dict[str, Any] = {
        key: Path(value) if key in ("out", "data_dir") else value for key, value in settings.items()
    }
    named: dict[str, Scalar] = {
        "--data": data,
        "--epochs": epochs,
        "--batch-size": batch_size,
        "--lr": lr,
        "--seed": seed,
        "--precision": precision,
        "--threads": threads,
    }
    flags = {flag: value for flag, value in named.items() if value is not None}
    options = Options(seeds, match, band, x, tuple(set), flags, trust_code)
    return run(specs, options, Settings(**paths), tell)
