"""The runs that there are, summed up from their files; free of torch."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnlab.errors import CheckpointError, UsageError
from cnnlab.models.registry import shown_name
from cnnlab.recipe.load import from_file
from cnnlab.text import printable
from cnnlab.training.run_folder import EpochRow, RunFolder, best_of, list_runs, read_json


@dataclass(frozen=True)
class RunSummary:
    """One run; None where nothing is known."""

    run: str
    """The folder's name."""
    path: Path
    arch: str | None
    data: str | None
    data_requested: str | None
    fallback: bool
    seed: int | None
    epochs: int
    """Epochs done."""
    best_epoch: int | None
    val_acc: float | None
    test_acc: float | None
    seconds: float
    started: str
    """Date and time, ISO 8601."""
    finished: bool
    problem: str | None
    """What is wrong with the folder, if anything."""

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**self.__dict__, "path": str(self.path)}


def summaries(out: Path) -> list[RunSummary]:
    """All runs below `out`, the oldest first; a damaged one is listed with its problem."""
    return [_summary(run) for run in list_runs(out)]


def _summary(run: RunFolder) -> RunSummary:
    environment: dict[str, Any] = {}
    result: dict[str, Any] = {}
    recipe = problem = None
    try:
        recipe = from_file(run.recipe, trust_code=True)  # read, not built: no code runs
        environment = read_json(run.environment)
        result = read_json(run.result) if run.is_finished else {}
    except (CheckpointError, UsageError) as error:
        problem = error.message
    about = environment.get("data")
    data: dict[str, Any] = about if isinstance(about, dict) else {}
    rows = _rows(run)
    best = best_of(rows)
    return RunSummary(
        run=run.path.name,
        path=run.path,
        arch=_text(result.get("arch")) or (None if recipe is None else shown_name(recipe.model.arch)),
        data=_text(result.get("data")) or _text(data.get("name")),
        data_requested=_text(result.get("data_requested")) or _text(data.get("requested")),
        fallback=data.get("fallback") is True,
        seed=None if recipe is None else recipe.seed,
        epochs=len(rows),
        best_epoch=_whole(result.get("best_epoch")) if result else best.epoch if best else None,
        val_acc=_number(result.get("val_acc")) if result else best.val_acc if best else None,
        test_acc=_number(result.get("test_acc")),
        seconds=sum(row.seconds for row in rows),
        started=_text(environment.get("started")) or _changed(run),
        finished=bool(result),
        problem=problem,
    )


def _rows(run: RunFolder) -> list[EpochRow]:
    try:
        return run.rows()
    except OSError:
        return []


def _changed(run: RunFolder) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(run.recipe.stat().st_mtime))


def _text(value: object) -> str | None:
    return printable(value) if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON's whole numbers have no end
        return None
