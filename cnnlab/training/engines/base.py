"""What the loop asks of an engine. Pictures and labels come as NumPy arrays; an engine keeps its own kind inside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, SupportsFloat

import numpy as np

from cnnlab.data import Moves
from cnnlab.errors import CheckpointError
from cnnlab.training.profiling import Profile


@dataclass(frozen=True)
class StepKey:
    """What a step's random numbers depend on (see `cnnlab.randomness.generator`)."""

    seed: int
    epoch: int
    step: int


@dataclass(frozen=True)
class Batch:
    """What a step is trained on."""

    images: Any
    """(B, H, W, C) uint8, augmented: an array, or what the engine's own picker gives."""
    labels: np.ndarray
    """(B,) int64."""
    partners: np.ndarray | None = None
    """mixup: (B,) the index of the picture that each is blended with; None: no mixup. Pictures and labels beyond the
    partners' number are only blended in: another process trains on them."""
    share: float = 1.0
    """mixup: λ, the share of a picture itself in the blend."""
    whole: int | None = None
    """Pictures of the step over all processes; None: as many as here."""
    size: tuple[int, int] | None = None
    """(height, width) in pixels to which the engine shrinks the images; None: they stay as they are."""


@dataclass(frozen=True)
class LayerGradient:
    """How much of the gradient arrives at one weight layer."""

    layer: str
    delta_rms: float
    """Root mean square of δ = ∂J/∂z over pictures and units, z being the layer's output and J one picture's loss."""
    weight_rms: float
    """Root mean square of ∂J/∂w, J being the mean loss."""
    slope: float | None
    """Mean f′(z) of the activation that follows; None where none does."""
    dead: float | None
    """Share of units whose f′ is 0 for every picture; None where no activation follows."""


class Engine(Protocol):
    """A net, its optimiser and its device."""

    name: str
    device: str
    precision: str
    profile: Profile
    """Where `step` counts the time of data, forward, backward and optimiser; off until the loop sets it."""

    def look_ahead(self, decay: float) -> None:
        """Draw the weights and their slow average together (`train.lookahead`)."""
        ...

    def wait(self) -> None:
        """Return when the device has done all that was asked of it."""
        ...

    def step(
        self, batch: Batch, lr: float, key: StepKey, lowest_lr: float | None = None, rest: bool = False
    ) -> SupportsFloat:
        """One step of training at learning rate `lr`: the mean objective over the batch (before the step).

        The layers up to `train.freeze_up_to` train at `lowest_lr`, or as the others (None); from 0 on they are frozen.
        With `rest`, those up to `train.rest_up_to` do not train in this step.
        """
        ...

    def picker(self, images: np.ndarray, cutout: int, fill: np.ndarray) -> Callable[[Moves], Any]:
        """What picks and augments batches of the training set, as `cnnlab.data.pick` does, for `Batch.images`."""
        ...

    def share_statistics(self) -> None:
        """Make equal what each process keeps for itself in training: the statistics of batch normalisation."""
        ...

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Outputs (N, classes) float of (N, H, W, C) uint8 pictures, in evaluation mode, moving average and all."""
        ...

    def layer_gradients(self, images: np.ndarray, labels: np.ndarray) -> list[LayerGradient]:
        """δ and ∂J/∂w of every weight layer for these pictures, first to last; training mode, nothing changed."""
        ...

    def weights(self) -> dict[str, np.ndarray]:
        """The weights and buffers that `predict` uses, under PyTorch's state_dict names."""
        ...

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take weights and buffers, for prediction and as the start of training.

        Raises:
            CheckpointError: names or shapes are those of another net.
        """
        ...

    def training_state(self) -> dict[str, np.ndarray]:
        """Everything that training goes on from: weights, buffers, moving average, optimiser."""
        ...

    def load_training_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what `training_state` gave.

        Raises:
            CheckpointError: it belongs to another net or optimiser.
        """
        ...


def count_of_updates(state: Mapping[str, np.ndarray]) -> int:
    """The number of updates that a training's state is the result of.

    Raises:
        CheckpointError: it does not say.
    """
    count = state.get("updates")
    if count is None or count.shape != () or count.dtype.kind != "i" or count < 0:
        raise CheckpointError("the checkpoint does not say how many updates it had", hint="It is no training's state")
    return int(count)
