"""What a training is told beside the recipe: where, on what, and what to record."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

EngineName = Literal["torch", "numpy"]


@dataclass(frozen=True)
class Settings:
    """What changes what is learnt, device, engine and the weights to start from, is recorded with the run."""

    out: Path = Path("runs")
    """The folder in which the run folder is made."""
    name: str | None = None
    """The run folder's name; None: time, net, data and seed."""
    device: str = "auto"
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
