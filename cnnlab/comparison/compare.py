"""The comparison itself: plan, train what is not trained yet, test, judge, write."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnlab.comparison.contestants import Entry, enter
from cnnlab.comparison.events import CompareFinished, CompareStarted, Tell
from cnnlab.comparison.files import write_files
from cnnlab.comparison.plan import Options, Plan, make_plan, require_repeatable, require_same_plan
from cnnlab.comparison.result import Comparison
from cnnlab.comparison.reuse import FinishedRuns
from cnnlab.comparison.tested import Contestant
from cnnlab.comparison.testing import put_to_the_test
from cnnlab.comparison.trainings import Trainings
from cnnlab.data import DataSet
from cnnlab.errors import MachineError, UsageError
from cnnlab.files import remove_temporaries, require_no_link, writing
from cnnlab.text import counted, printable, typed
from cnnlab.training.events import tell_nobody
from cnnlab.training.going_on import environment_of
from cnnlab.training.lock import only_process
from cnnlab.training.prepare import load_data, real_command
from cnnlab.training.run_folder import read_json, require_name, write_json
from cnnlab.training.settings import Settings
from cnnlab.training.torchrun import require_one_process

PLAN = "plan.json"
RUNS = "runs"


def compare(specs: Sequence[str], options: Options, settings: Settings, tell: Tell = tell_nobody) -> Comparison:
    """Compare contestants on the same data, split, seeds and number of epochs.

    Args:
        specs: two contestants or more, `[LABEL=]NAME[:key=value,...]`; NAME an architecture, a recipe or a run.
        options: seeds, matching, the recipes' flags.
        settings: where, on what; `name` is the comparison's folder, with which it goes on where it stopped.
        tell: receives every event, in this thread.

    Raises:
        UsageError: an unknown contestant, one named twice, other data or splits, a width that cannot be matched,
            a folder that holds something else; several processes.
        CnnlabError: as a training fails; what was trained is kept, and the same command with the same name goes on.
    """
    require_one_process("a comparison")
    entries = enter(
        specs, settings=options.assignments, flags=options.flags, out=settings.out, trust_code=options.trust_code
    )
    data = _load(entries, settings, tell)
    if options.seeds > 1:
        require_repeatable(entries, settings.engine)
    plan = make_plan(entries, data, options)
    with _folder(settings) as folder:
        _keep_plan(folder, plan.document(data, options, settings))
        finished = FinishedRuns(settings.out, data, settings)
        trainings = Trainings(plan, data, settings, folder / RUNS, finished, tell)
        tell(_started(folder, plan, data, specs, settings, trainings))
        runs = trainings.carry_out()
        contestants, tests, chance = put_to_the_test(plan, runs, data, settings, tell)
        comparison = Comparison(
            folder=folder,
            data=data.name,
            data_requested=data.requested,
            fallback=data.fallback,
            real_command=real_command(data, _command(specs, settings)),
            notices=(
                *data.notices,
                *_remarks(plan),
                *trainings.remarks,
                *_the_same_nets(contestants),
                *_without_gradients(contestants, settings),
            ),
            classes=data.classes,
            images=trainings.images,
            test=data.test,
            chance=chance,
            seeds=plan.seeds,
            epochs=plan.epochs,
            match=options.match,
            band=options.band,
            x=options.x,
            engine=settings.engine,
            device=contestants[0].runs[0].result["device"],
            command=typed(_command(specs, settings)),
            contestants=contestants,
            tests=tests,
        )
        write_files(comparison)
    tell(CompareFinished(comparison))
    return comparison


def _load(entries: Sequence[Entry], settings: Settings, tell: Tell) -> DataSet:
    """The data of all contestants; what stood in for other data when a run was trained still does."""
    data = load_data(entries[0].recipe, settings, tell)
    run = next((entry.run for entry in entries if entry.run is not None), None)
    if run is None or data.fallback:
        return data
    about: Any = read_json(run.environment).get("data")
    if not isinstance(about, dict) or about.get("fallback") is not True or about.get("fingerprint") != data.fingerprint:
        return data
    return replace(data, requested=printable(about.get("requested")), fallback=True)


@contextlib.contextmanager
def _folder(settings: Settings) -> Iterator[Path]:
    """The comparison's folder, new or gone on with, held by this process alone."""
    name = settings.name
    if name is not None:
        require_name(name)
    with writing(settings.out):
        settings.out.mkdir(parents=True, exist_ok=True)
        path = settings.out / name if name is not None else _new_folder(settings.out)
        if path.is_dir() and not (path / PLAN).is_file() and any(file.name[0] != "." for file in path.iterdir()):
            raise UsageError(f"{printable(path)} already exists and is not a comparison", hint="Choose another --name")
        path.mkdir(exist_ok=True)
    with only_process(path):
        require_no_link(path / RUNS)
        remove_temporaries(path)
        for leftover in (path / RUNS).glob(".*.tmp"):  # of a run folder that was being made when the process died
            shutil.rmtree(leftover, ignore_errors=True)
        yield path


def _new_folder(out: Path) -> Path:
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-compare"
    for attempt in range(1, 1000):
        path = out / (stem if attempt == 1 else f"{stem}-{attempt}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise MachineError(f"no free name for a comparison in {printable(out)}")


def _keep_plan(folder: Path, plan: dict[str, Any]) -> None:
    path = folder / PLAN
    if path.is_file():
        require_same_plan(folder, read_json(path), plan)
    write_json(path, plan)


def _command(specs: Sequence[str], settings: Settings) -> Sequence[str]:
    return settings.command or ("cnnlab", "compare", *specs)


def _started(
    folder: Path, plan: Plan, data: DataSet, specs: Sequence[str], settings: Settings, trainings: Trainings
) -> CompareStarted:
    return CompareStarted(
        folder=folder,
        data=data.name,
        data_requested=data.requested,
        fallback=data.fallback,
        real_command=real_command(data, _command(specs, settings)),
        images=trainings.images,
        classes=len(data.classes),
        image_shape=data.image_shape,
        contestants=plan.planned,
        seeds=plan.seeds,
        epochs=plan.epochs,
        runs=len(plan.runs),
        finished=trainings.finished,
        engine=settings.engine,
        device=trainings.device,
    )


def _remarks(plan: Plan) -> list[str]:
    """What a reader should know of how these contestants were compared."""
    remarks = []
    for entry in plan.entries:
        own = entry.recipe.train.epochs
        if entry.run is not None and own != plan.epochs:
            remarks.append(f"{entry.name} is a run of {own} epochs; the comparison has {plan.epochs}: no equal budget")
        start = environment_of(entry.run).get("init_from") if entry.run is not None else None
        if start is not None:
            remarks.append(f"{entry.name} began from the weights of {printable(start.get('run'))}, not from scratch")
        if entry.seed is not None and entry.seed != plan.seeds[0]:
            remarks.append(f"{entry.name} has seeds of its own, from {entry.seed} on; its split is that of the others")
    if len(plan.entries) > 2:
        pairs = len(plan.entries) * (len(plan.entries) - 1) // 2
        remarks.append(f"p-values are corrected for {pairs} pairs (Holm 1979); intervals are not")
    return remarks


def _the_same_nets(contestants: Sequence[Contestant]) -> list[str]:
    """Two names may mean the same recipe and seeds: what is compared then is nothing."""
    first: dict[Path, str] = {}
    remarks = []
    for contestant in contestants:
        folders = [run.folder.resolve() for run in contestant.runs]
        again = [first[folder] for folder in folders if folder in first]
        if again:
            part = "" if len(again) == len(folders) else f" with {len(again)} of {counted(len(folders), 'seed')}"
            remarks.append(f"{contestant.name} is {again[0]} again{part}: the same trained net under another name")
        for folder in folders:
            first.setdefault(folder, contestant.name)
    return remarks


def _without_gradients(contestants: Sequence[Contestant], settings: Settings) -> list[str]:
    """Runs that were finished before may not have recorded what --gradients asks for."""
    if not settings.gradients:
        return []
    missing = [contestant.name for contestant in contestants if not all(run.gradients for run in contestant.runs)]
    return [f"{name} is a run without --gradients: it has no δ by layer" for name in missing]
