"""The finished runs before the same test images, and the verdict on every pair."""

import numpy as np

from cnnlab.comparison import statistics
from cnnlab.comparison.contestants import Entry
from cnnlab.comparison.events import Tell
from cnnlab.comparison.pairs import PairTest
from cnnlab.comparison.plan import Plan, is_repeatable
from cnnlab.comparison.statistics import Evidence
from cnnlab.comparison.tested import Contestant, ContestantRun
from cnnlab.data import DataSet
from cnnlab.errors import CheckpointError
from cnnlab.evaluation import measures, views
from cnnlab.evaluation.opened import open_run
from cnnlab.models.registry import is_user_file, shown_name
from cnnlab.recipe.load import dump
from cnnlab.recipe.schema import Recipe
from cnnlab.text import printable
from cnnlab.training import metrics
from cnnlab.training.going_on import result_of
from cnnlab.training.gradients import recorded
from cnnlab.training.run_folder import RunFolder, read_json
from cnnlab.training.settings import Settings


def put_to_the_test(
    plan: Plan, folders: tuple[RunFolder, ...], data: DataSet, settings: Settings, tell: Tell
) -> tuple[tuple[Contestant, ...], tuple[PairTest, ...], float]:
    """The contestants with their runs tested, the verdict on every pair, and the accuracy of guessing.

    Raises:
        CheckpointError: a run folder is damaged.
        NumericError: outputs that are not finite.
    """
    chance = statistics.chance_level(data.test.labels)
    tested: list[list[ContestantRun]] = [[] for _ in plan.entries]
    for planned, folder in zip(plan.runs, folders, strict=True):
        name = plan.entries[planned.contestant].name
        task = f"testing {name}, seed {planned.seed}"
        tested[planned.contestant].append(_tested(folder, planned.recipe, data, settings, tell, task))
    evidence = [
        _evidence(entry, runs, is_repeatable(entry, plan.epochs, settings.engine))
        for entry, runs in zip(plan.entries, tested, strict=True)
    ]
    tests = statistics.judge(evidence, plan.seeds, chance)
    p_values = statistics.against_chance(evidence, chance)
    first = {run.contestant: run.recipe for run in reversed(plan.runs)}
    contestants = tuple(
        Contestant(
            name=entry.name,
            spec=entry.spec,
            arch=shown_name(entry.recipe.model.arch),
            recipe=dump(first[index]),
            weight_layers=cost.weight_layers,
            parameters=cost.parameters,
            macs=cost.macs,
            matched=entry.matched,
            match_left=cost.match_left,
            p_chance=p,
            beats_chance=p < statistics.CHANCE_ALPHA,
            runs=tuple(runs),
            select="last" if runs[0].best_row["val_acc"] is None else first[index].train.select,
        )
        for index, (entry, cost, p, runs) in enumerate(zip(plan.entries, plan.planned, p_values, tested, strict=True))
    )
    return contestants, tests, chance


def _tested(
    folder: RunFolder, recipe: Recipe, data: DataSet, settings: Settings, tell: Tell, task: str
) -> ContestantRun:
    # A user's file was trusted when the contestant entered.
    opened = open_run(folder.path, device=settings.device, trust_code=is_user_file(recipe.model.arch))
    outputs = views.predict(opened.engine, data.test.images, tell, task)
    labels, loss = data.test.labels, opened.recipe.train.loss
    predictions = outputs.argmax(axis=1)
    confidence = measures.probabilities(outputs, loss)[np.arange(len(labels)), predictions]
    result, rows = result_of(folder), folder.rows()
    if len(rows) < result["best_epoch"]:
        raise CheckpointError(
            f"{printable(folder.metrics)} has {len(rows)} whole lines; the best epoch is {result['best_epoch']}",
            hint="Copy the run folder again from where it was trained",
        )
    return ContestantRun(
        seed=recipe.seed,
        folder=folder.path,
        rows=tuple(vars(row) for row in rows),
        best_epoch=result["best_epoch"],
        result=result,
        environment=read_json(folder.environment),
        gradients=tuple(recorded(folder)) if settings.gradients else (),
        test_acc=metrics.accuracy(outputs, labels),
        test_loss=float(metrics.losses(outputs, labels, loss).mean()),
        predictions=predictions,
        confidence=confidence,
        correct=predictions == labels,
        confusion=measures.confusion_matrix(labels, predictions, len(data.classes)),
    )


def _evidence(entry: Entry, runs: list[ContestantRun], repeatable: bool) -> Evidence:
    curves = tuple([row["train_acc"] if row["val_acc"] is None else row["val_acc"] for row in run.rows] for run in runs)
    correct, best = np.stack([run.correct for run in runs]), tuple(run.best_epoch for run in runs)
    return Evidence(entry.name, correct, curves, best, repeatable)
