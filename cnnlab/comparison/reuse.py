"""Finished runs that stand for a run of the comparison: the same resolved recipe, data and machine settings."""

import contextlib
from pathlib import Path

from cnnlab import __version__
from cnnlab.data import DataSet
from cnnlab.errors import CnnlabError, MachineError
from cnnlab.models import registry
from cnnlab.recipe.load import digest, from_file
from cnnlab.recipe.schema import Recipe
from cnnlab.training import checkpoint
from cnnlab.training import device as devices
from cnnlab.training.run_folder import RunFolder, list_runs, read_json
from cnnlab.training.settings import Settings


class FinishedRuns:
    """The finished runs below a folder, and below `runs/` of the comparisons in it, by recipe."""

    def __init__(self, out: Path, data: DataSet, settings: Settings) -> None:
        self.data, self.settings = data, settings
        self.device = devices.choose_device(settings.device)
        self.by_recipe: dict[str, list[RunFolder]] = {}
        for folder in _folders_of_runs(out):
            with contextlib.suppress(MachineError):  # a locked folder holds nothing that could be taken
                for run in list_runs(folder):
                    self.add(run)

    def add(self, run: RunFolder) -> None:
        """Let a run stand for others, if it is finished and can be read."""
        if not run.is_finished:
            return
        try:
            recipe = from_file(run.recipe)
        except CnnlabError:  # another version's, or one that names a Python file
            return
        self.by_recipe.setdefault(_identity(recipe), []).append(run)

    def find(self, recipe: Recipe) -> RunFolder | None:
        """A run of this recipe, on these data, made as it would be made now; None where there is none."""
        if registry.is_user_file(recipe.model.arch):  # its code may have changed
            return None
        for run in self.by_recipe.get(_identity(recipe), []):
            try:
                if self._made_alike(run, recipe):
                    checkpoint.load(run.checkpoints, "best")
                    return run
            except CnnlabError:
                continue
        return None

    def _made_alike(self, run: RunFolder, recipe: Recipe) -> bool:
        environment = read_json(run.environment)
        about = environment.get("data")
        expected = {
            "cnnlab": __version__,
            "engine": self.settings.engine,
            "threads": devices.count_threads(recipe.threads),
            "processes": 1,
            "init_from": None,
        }
        if self.settings.engine == "torch":
            precision = devices.choose_precision(recipe.train.precision, self.device)
            expected |= {"device": self.device.type, "precision": precision}
        return (
            all(environment.get(key) == value for key, value in expected.items())
            and isinstance(about, dict)
            and about.get("fingerprint") == self.data.fingerprint
            and (environment.get("gradients") is True or not self.settings.gradients)
        )


def _folders_of_runs(out: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [out, *(path / "runs" for path in sorted(out.iterdir()))]
    return [out]


def _identity(recipe: Recipe) -> str:
    """Threads are no part of what is learnt; how many there were is compared apart."""
    return digest(recipe.model_copy(update={"threads": None}))
