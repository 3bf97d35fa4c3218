"""A training from its beginning, or from where it stopped: load, prepare, run."""

from dataclasses import replace
from pathlib import Path

from cnnlab.data import DataSet
from cnnlab.errors import CheckpointError
from cnnlab.files import write_atomically
from cnnlab.models.registry import is_user_file
from cnnlab.recipe.load import dump, from_file
from cnnlab.recipe.schema import Recipe
from cnnlab.text import printable
from cnnlab.training import checkpoint
from cnnlab.training.environment import describe
from cnnlab.training.events import Notice, RunFinished
from cnnlab.training.prepare import Prepared, load_data, prepare, tell_nobody
from cnnlab.training.run import Progress, Run, Tell
from cnnlab.training.run_folder import RunFolder, create, read_json, write_json
from cnnlab.training.settings import Settings


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
    prepared = prepare(recipe, settings, data or load_data(recipe, settings, tell))
    if settings.init_from is not None:
        _start_from(prepared, settings.init_from)
    folder = create(
        settings.out, settings.name, arch=recipe.model.arch, data=prepared.data.name, seed=prepared.recipe.seed
    )
    write_atomically(folder.recipe, dump(_with_own_code(prepared.recipe, folder)))
    write_json(folder.environment, describe(prepared))
    return Run(prepared, folder, Progress(), tell).to_the_end()


def resume(
    path: Path,
    settings: Settings,
    tell: Tell = tell_nobody,
    *,
    trust_code: bool = False,
    data: DataSet | None = None,
) -> RunFinished:
    """Go on with a run after the last epoch that it saved; its end is that of a run that was never stopped.

    `data` is the run's data set where the caller has it in memory already.

    Raises:
        CheckpointError: no whole checkpoint, or other data than the run's.
    """
    folder = RunFolder(path)
    environment = read_json(folder.environment)
    recipe = from_file(folder.recipe, trust_code=trust_code)
    if folder.result.is_file():
        tell(Notice(f"{printable(path)} is finished already: nothing to do"))
        finished = RunFinished(path, read_json(folder.result), tuple(folder.rows()), None)
        tell(finished)
        return finished
    settings = replace(
        settings,
        engine=environment.get("engine", "torch"),
        gradients=environment.get("gradients", False),
        test=environment.get("test", True),
    )
    data = data or load_data(recipe, settings, tell)
    saved = environment.get("data", {})
    if saved.get("fingerprint") != data.fingerprint:
        raise CheckpointError(
            f"the data are not those of the run: fingerprint {data.fingerprint[:12]}…, "
            f"the run's {printable(str(saved.get('fingerprint'))[:12])}…",
            hint="Put the run's own data back in place, or start a new run",
        )
    data = replace(data, requested=saved.get("requested", data.name), fallback=saved.get("fallback", False))
    prepared = prepare(recipe, settings, data)
    progress = _load_progress(folder, prepared, tell)
    return Run(prepared, folder, progress, tell).to_the_end()


def _with_own_code(recipe: Recipe, folder: RunFolder) -> Recipe:
    """Copy a user's Python file into the run, and let the run's recipe refer to that copy."""
    if not is_user_file(recipe.model.arch):
        return recipe
    file, _, name = recipe.model.arch.rpartition(":")
    write_atomically(folder.path / Path(file).name, Path(file).read_bytes())
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"arch": f"{Path(file).name}:{name}"})})


def _start_from(prepared: Prepared, run: Path) -> None:
    found = checkpoint.load(RunFolder(run).checkpoints, "best")
    prepared.engine.load_weights(found.tensors)


def _load_progress(folder: RunFolder, prepared: Prepared, tell: Tell) -> Progress:
    """Load the newest whole checkpoint into the engine, and drop metrics that are newer than it."""
    if not any(folder.checkpoints.glob("*.json")):
        tell(Notice("the run had not saved an epoch yet: it starts again"))
        return Progress()
    newest, problems = checkpoint.load_newest(folder.checkpoints)
    for problem in problems:
        tell(Notice(f"{problem}; going on from the checkpoint before it"))
    epoch, best_epoch = newest.meta.get("epoch"), newest.meta.get("best_epoch")
    rows = folder.rows()
    if not isinstance(epoch, int) or not isinstance(best_epoch, int) or not 1 <= epoch <= len(rows):
        raise CheckpointError(f"the checkpoint and the metrics of {printable(folder.path)} do not fit together")
    prepared.engine.load_training_state(newest.tensors)
    progress = Progress(rows[:epoch], best_epoch)
    if best_epoch:
        progress.best_weights = checkpoint.load(folder.checkpoints, "best").tensors
    return progress
