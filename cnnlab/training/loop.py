"""A training from its beginning, or from where it stopped: load, prepare, run."""

from dataclasses import replace
from pathlib import Path

from cnnlab.data import DataSet
from cnnlab.files import remove_temporaries
from cnnlab.models.registry import is_user_file, shown_name
from cnnlab.recipe.load import dump, from_file
from cnnlab.recipe.schema import Recipe
from cnnlab.text import printable
from cnnlab.training import checkpoint
from cnnlab.training.environment import describe
from cnnlab.training.events import Notice, RunFinished
from cnnlab.training.going_on import newest, require_same_data, require_same_recipe, take_up, tell_differences
from cnnlab.training.lock import only_process
from cnnlab.training.prepare import Prepared, load_data, prepare, tell_nobody
from cnnlab.training.run import Run, Tell
from cnnlab.training.run_folder import RunFolder, as_json, create, read_json
from cnnlab.training.saving import Progress
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
    files: dict[str, bytes | str] = {
        **_own_code(prepared.recipe),
        "environment.json": as_json(describe(prepared)),
        "recipe.yaml": dump(_with_own_code(prepared.recipe)),
    }
    folder = create(
        settings.out, settings.name, files, arch=recipe.model.arch, data=prepared.data.name, seed=prepared.recipe.seed
    )
    with only_process(folder.path):
        return Run(prepared, folder, Progress(), tell).to_the_end()


def resume(
    path: Path,
    settings: Settings,
    tell: Tell = tell_nobody,
    *,
    trust_code: bool = False,
    data: DataSet | None = None,
    threads: int | None = None,
) -> RunFinished:
    """Go on with a run where it was saved last; its end is that of a run that was never stopped.

    Args:
        path: the run folder.
        settings: where to look for data, on what to train.
        tell: receives every event, in this thread.
        trust_code: whether the run may name a Python file.
        data: the run's data set where the caller has it in memory already.
        threads: other than the run's own: it does not end bit for bit the same then.

    Raises:
        CheckpointError: no whole checkpoint, or other data than the run's.
        RecipeError: recipe.yaml was changed since.
        MachineError: another process is at it.
    """
    folder = RunFolder(path)
    if folder.result.is_file():
        return _finished_already(folder, tell)
    environment = read_json(folder.environment)
    recipe = from_file(folder.recipe, trust_code=trust_code)
    recipe = recipe if threads is None else recipe.model_copy(update={"threads": threads})
    settings = replace(
        settings,
        engine=environment.get("engine", "torch"),
        gradients=environment.get("gradients", False),
        test=environment.get("test", True),
    )
    with only_process(path):
        if folder.result.is_file():  # another process has just finished it
            return _finished_already(folder, tell)
        remove_temporaries(path)
        remove_temporaries(folder.checkpoints)
        found = newest(folder, tell)
        if found is not None:
            require_same_recipe(recipe, found.meta)
        data = data or load_data(recipe, settings, tell)
        saved = environment.get("data", {})
        require_same_data(data, saved)
        data = replace(data, requested=saved.get("requested", data.name), fallback=saved.get("fallback", False))
        prepared = prepare(recipe, settings, data)
        if found is None:
            return Run(prepared, folder, Progress(), tell).to_the_end()
        tell_differences(prepared, found.meta, tell)
        return Run(prepared, folder, take_up(folder, prepared, found), tell).to_the_end()


def _finished_already(folder: RunFolder, tell: Tell) -> RunFinished:
    tell(Notice(f"{printable(folder.path)} is finished already: nothing to do"))
    finished = RunFinished(folder.path, read_json(folder.result), tuple(folder.rows()), None)
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


def _start_from(prepared: Prepared, run: Path) -> None:
    found = checkpoint.load(RunFolder(run).checkpoints, "best")
    prepared.engine.load_weights(found.tensors)
