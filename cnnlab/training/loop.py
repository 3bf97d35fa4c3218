"""A training from its beginning, or from where it stopped: load, prepare, run."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cnnlab.data import DataSet
from cnnlab.errors import CheckpointError
from cnnlab.files import remove_temporaries, require_no_link
from cnnlab.models.registry import is_user_file, shown_name
from cnnlab.recipe.load import digest, dump, from_file, short_flags
from cnnlab.recipe.schema import Recipe
from cnnlab.text import command_path, printable
from cnnlab.training import checkpoint
from cnnlab.training.environment import describe
from cnnlab.training.events import Notice, RunFinished, Tell, tell_nobody
from cnnlab.training.going_on import (
    environment_of,
    newest,
    require_same_data,
    require_same_training,
    result_of,
    shares_images,
    take_up,
    tell_differences,
)
from cnnlab.training.lock import only_process
from cnnlab.training.prepare import Prepared, load_data, prepare
from cnnlab.training.processes import joined
from cnnlab.training.run import Run
from cnnlab.training.run_folder import RunFolder, as_json, create
from cnnlab.training.saving import Progress
from cnnlab.training.settings import Settings
from cnnlab.training.world import World


def train(recipe: Recipe, settings: Settings, tell: Tell = tell_nobody, *, data: DataSet | None = None) -> RunFinished:
    """Train from the beginning: load, prepare, run to the end.

    Args:
        recipe: the experiment.
        settings: where, on what, what to record.
        tell: receives every event, in this thread.
        data: the recipe's data set where the caller has it in memory already.

    Raises:
        CnnlabError: see the classes in cnnlab.errors; nothing is left behind if it fails before the first step.
    """
    with joined(settings.device, _told_by(settings, digest(recipe))) as world:
        begun = _remembered(world, tell)
        if begun is not None:
            return _go_on(begun, settings, tell, world, trust_code=True, data=data)
        return _begin(recipe, settings, tell, world, data)


def _told_by(settings: Settings, what: str) -> str:
    """What tells a training from the others of one launch: of a script, of a comparison, of a shell's commands."""
    return "\n".join([*settings.command, str(settings.out.absolute()), str(settings.name), what])


def _remembered(world: World, tell: Tell) -> Path | None:
    begun = world.remembered()
    if begun is not None:
        tell(Notice(f"torchrun has started the processes again: going on with {printable(begun)}"))
    return begun


def _begin(recipe: Recipe, settings: Settings, tell: Tell, world: World, data: DataSet | None) -> RunFinished:
    prepared = prepare(recipe, settings, data or _load(recipe, settings, tell, world), world)
    for notice in prepared.notices:
        tell(Notice(notice))
    source = None if settings.init_from is None else _start_from(prepared, settings.init_from, None, tell)
    folder = RunFolder(Path(world.from_first(lambda: str(_create(prepared, source).path))))
    with _only_process(folder.path, world):
        world.remember(folder.path)
        return Run(prepared, folder, Progress(), tell).to_the_end()


def _create(prepared: Prepared, init_from: Mapping[str, str] | None) -> RunFolder:
    settings = prepared.settings
    files: dict[str, bytes | str] = {
        **_own_code(prepared.recipe),
        "environment.json": as_json(describe(prepared, init_from)),
        "recipe.yaml": dump(_with_own_code(prepared.recipe)),
    }
    recipe = prepared.recipe
    return create(settings.out, settings.name, files, arch=recipe.model.arch, data=prepared.data.name, seed=recipe.seed)


def _load(recipe: Recipe, settings: Settings, tell: Tell, world: World) -> DataSet:
    """The recipe's data, downloaded and decoded by one process of each machine.

    Raises:
        DataError: the processes have different ones.
    """

    def load(others_were_before: bool) -> DataSet:
        return load_data(recipe, replace(settings, offline=settings.offline or others_were_before), tell)

    data = world.in_turn(load)
    world.require_same("the recipe", dump(_with_own_code(recipe)))
    world.require_same("the data set's fingerprint", data.fingerprint)
    return data


def _only_process(path: Path, world: World) -> contextlib.AbstractContextManager[None]:
    return only_process(path) if world.first else contextlib.nullcontext()


def resume(
    path: Path,
    settings: Settings,
    tell: Tell = tell_nobody,
    *,
    trust_code: bool = False,
    data: DataSet | None = None,
    threads: int | None = None,
    asked: str = "",
) -> RunFinished:
    """Go on with a run where it was saved last; its end is that of a run that was never stopped.

    Args:
        path: the run folder.
        settings: where to look for data, on what to train.
        tell: receives every event, in this thread.
        trust_code: whether the run may name a Python file.
        data: the run's data set where the caller has it in memory already.
        threads: other than the run's own: it does not end bit for bit the same then.
        asked: the words that meant this run, such as last; another when torchrun starts the processes again.

    Raises:
        CheckpointError: no whole checkpoint; recipe or data are not the run's any more.
        MachineError: another process is at it.
    """
    with joined(settings.device, _told_by(settings, f"resume {asked or path}")) as world:
        path = _remembered(world, tell) or path
        return _go_on(path, settings, tell, world, trust_code=trust_code, data=data, threads=threads)


def _go_on(
    path: Path,
    settings: Settings,
    tell: Tell,
    world: World,
    *,
    trust_code: bool = False,
    data: DataSet | None = None,
    threads: int | None = None,
) -> RunFinished:
    folder = RunFolder(path)
    if folder.is_finished:
        return _finished_already(folder, tell)
    environment = environment_of(folder)
    recipe = from_file(folder.recipe, flags=short_flags(threads=threads), trust_code=trust_code)
    settings = replace(
        settings,
        engine=environment.get("engine", "torch"),
        gradients=environment.get("gradients", False),
        test=settings.test and environment.get("test", True),
    )
    with _only_process(path, world):
        if folder.is_finished:  # another process has just finished it
            return _finished_already(folder, tell)
        if world.first:
            require_no_link(folder.checkpoints)
            remove_temporaries(path)
            remove_temporaries(folder.checkpoints)
        found = newest(folder, tell)
        if found is not None:
            require_same_training(recipe, None, found.meta)
            world.require_same("the newest checkpoint", str(found.meta.get("sha256")))
        data = data or _load(recipe, settings, tell, world)
        saved = environment.get("data", {})
        require_same_data(data, saved)
        if found is not None:
            require_same_training(recipe, data.fingerprint, found.meta)
        data = replace(data, requested=saved.get("requested", data.name), fallback=saved.get("fallback", False))
        prepared = prepare(recipe, settings, data, world)
        world.remember(path)
        if found is None:
            source = environment.get("init_from")
            if source is not None:
                _start_from(prepared, Path(source["run"]), source["sha256"], tell_nobody)
            return Run(prepared, folder, Progress(), tell).to_the_end()
        tell_differences(prepared, found.meta, tell)
        return Run(prepared, folder, _take_up_in_turn(folder, prepared, found, tell), tell).to_the_end()


def _take_up_in_turn(folder: RunFolder, prepared: Prepared, found: checkpoint.Checkpoint, tell: Tell) -> Progress:
    """Rank 0 takes up the checkpoint and puts the files in order, when all have read it; then the others follow."""
    world = prepared.world
    world.agree()
    progress = take_up(folder, prepared, found, tell) if world.first else None
    world.agree()
    return progress or take_up(folder, prepared, found, tell)


def _finished_already(folder: RunFolder, tell: Tell) -> RunFinished:
    tell(Notice(f"{printable(folder.path)} has already finished: nothing to do"))
    finished = RunFinished(folder.path, result_of(folder), tuple(folder.rows()), None)
    tell(finished)
    return finished


def _own_code(recipe: Recipe) -> dict[str, bytes]:
    """A user's Python file, to be copied into the run."""
    if not is_user_file(recipe.model.arch):
        return {}
    file = Path(recipe.model.arch.rpartition(":")[0])
    return {file.name: file.read_bytes()}


def _with_own_code(recipe: Recipe) -> Recipe:
    """The recipe as it refers to the run's own copy of a user's Python file."""
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"arch": shown_name(recipe.model.arch)})})


def _start_from(prepared: Prepared, run: Path, sha256: str | None, tell: Tell) -> dict[str, str]:
    """Take a run's best weights; that run and their hash, for the record.

    Args:
        sha256: what the hash must be; None: any.

    Raises:
        CheckpointError: no weights, other weights, or those of another net.
    """
    found = checkpoint.load(RunFolder(run).checkpoints, "best")
    if sha256 not in (None, found.meta["sha256"]):
        raise CheckpointError(
            f"the weights of {printable(run)}, from which this run starts, have changed since it was begun",
            hint="Start a new run: --init-from RUN",
        )
    try:
        prepared.engine.load_weights(found.tensors)
    except CheckpointError as error:
        raise CheckpointError(
            f"the weights of {printable(run)} do not fit this net: {error.message}",
            hint=f"Take its net too, on data of as many classes: --recipe {command_path(run)}/recipe.yaml "
            f"--init-from {command_path(run)}",
        ) from None
    if shares_images(prepared, found.meta):
        tell(
            Notice(
                f"{printable(run)} was trained with another validation part of the same data: images that validate "
                "here have trained it, so the validation accuracy will be too high. Its recipe.yaml tells its split"
            )
        )
    return {"run": str(run.resolve()), "sha256": found.meta["sha256"]}
