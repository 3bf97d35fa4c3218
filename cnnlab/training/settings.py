"""What a training is told beside the recipe: where, on what, and what to record."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from cnnlab.choices import DeviceName, EngineName, require_choice
from cnnlab.errors import UsageError
from cnnlab.text import did_you_mean, printable


@dataclass(frozen=True)
class Settings:
    """What changes what is learnt, device, engine and the weights to start from, is recorded with the run."""

    out: Path = Path("runs")
    """The folder in which the run folder is made."""
    name: str | None = None
    """The run folder's name; None: time, net, data and seed."""
    device: DeviceName = "auto"
    engine: EngineName = "torch"
    gradients: bool = False
    """Record δ and ∂J/∂w by layer before training and after each epoch."""
    tensorboard: bool = False
    """Also write TensorBoard's event files."""
    profile: bool = False
    """Measure where the time goes, and add it to the result."""
    test: bool = True
    """Whether the test set is touched, once, at the end."""
    data_dir: Path | None = None
    offline: bool = False
    init_from: Path | None = None
    """A finished run whose best weights are where training starts."""
    command: tuple[str, ...] = ()
    """The command line, for the record."""

    def __post_init__(self) -> None:
        require_choice("device", self.device, get_args(DeviceName))
        require_choice("engine", self.engine, get_args(EngineName))

    @classmethod
    def of(cls, others: Iterable[str] = (), /, **given: Any) -> "Settings":
        """From keyword arguments; a path may be text. `others`: what else the caller takes, for what is misspelt.

        Raises:
            UsageError: there is no such setting, device or engine.
        """
        names = [field.name for field in fields(cls)]
        for name in given.keys() - set(names):
            raise UsageError(
                f"there is no argument {printable(name)!r}", hint=did_you_mean(name, sorted({*names, *others}))
            )
        said: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        said |= {name: Path(said[name]) for name in ("out", "data_dir", "init_from") if name in said}
        return cls(**said)


def require_alone(settings: Settings, flags: Mapping[str, object]) -> None:
    """Refuse what was given beside a run to go on with: it goes on as it was begun, but with other `--threads`.

    Args:
        settings: of these, what was another when the run was begun.
        flags: those that make a recipe, with what was given for each; None, False and () are nothing.

    Raises:
        UsageError: with the first flag.
    """
    given = {
        "--name": settings.name,
        "--gradients": settings.gradients,
        "--engine": settings.engine != Settings.engine,
        "--init-from": settings.init_from,
        **flags,
    }
    nothing = (None, False, ())
    unfit = [flag for flag, value in given.items() if flag != "--threads" and not any(value is one for one in nothing)]
    if unfit:
        raise UsageError(
            f"{unfit[0]} does not go with --resume: a run goes on with its own recipe, as it was begun",
            hint="Leave it out, or start a new run from its weights: --recipe RUN/recipe.yaml --init-from RUN",
        )
