"""The state of a torch net and its optimiser as arrays by name, and back: what a checkpoint holds."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from cnnlab.errors import CheckpointError
from cnnlab.recipe.schema import OptimSection
from cnnlab.text import printable
from cnnlab.training.engines.saved_state import optimizer_state, require_same_kind


def state_of(net: nn.Module, averaged: nn.Module | None, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """Weights and buffers under `model.`, the moving average's under `ema.`, the optimiser's under `optimizer.`."""
    state = {f"model.{name}": array for name, array in arrays(net.state_dict()).items()}
    if averaged is not None:
        state |= {f"ema.{name}": array for name, array in arrays(averaged.state_dict()).items()}
    for name, parameter in net.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                state[f"optimizer.{key}.{name}"] = _array(value)
    return state


def load_state(
    state: Mapping[str, np.ndarray],
    net: nn.Module,
    averaged: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    optim: OptimSection,
) -> None:
    """Take what `state_of` gave.

    Raises:
        CheckpointError: it belongs to another net or optimiser.
    """
    load_tensors(net.state_dict(), state, "model.")
    if averaged is not None:
        load_tensors(averaged.state_dict(), state, "ema.")
    parameters = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    own = type(net).__module__.startswith(("torch.nn.", "cnnlab."))
    for name, saved in optimizer_state(state, arrays(parameters), optim, all_trained=own).items():
        parameter = parameters[name]
        for key, array in saved.items():
            value = torch.from_numpy(array.copy())
            if key == "step":
                value = value.to(torch.float32).to(parameter.device if optimizer.defaults["fused"] else "cpu")
            else:
                value = value.to(parameter.device).to(memory_format=_format_of(parameter))
            optimizer.state[parameter][key] = value


def arrays(state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of tensors as contiguous arrays, under their names."""
    return {name: _array(tensor) for name, tensor in state.items()}


def load_weights(net: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Copy arrays into a net's parameters and buffers, name by name.

    Raises:
        CheckpointError: names or shapes are those of another net.
    """
    load_tensors(net.state_dict(), weights)


def load_tensors(state: Mapping[str, Tensor], saved: Mapping[str, np.ndarray], prefix: str = "") -> None:
    """Copy arrays into tensors of the same names: of what is saved, what is under `prefix`.

    Raises:
        CheckpointError: names, shapes or types are others.
    """
    weights = {name.removeprefix(prefix): array for name, array in saved.items() if name.startswith(prefix)}
    missing, unknown = state.keys() - weights.keys(), weights.keys() - state.keys()
    for name, what in [*((name, "lacks") for name in sorted(missing)), *((name, "has") for name in sorted(unknown))]:
        raise CheckpointError(
            f"the checkpoint {what} {printable(name)!r}, unlike this net", hint="It belongs to another architecture"
        )
    for name, tensor in _pairs(state, weights):
        with torch.no_grad():
            state[name].copy_(tensor)


def _array(tensor: Tensor) -> np.ndarray:
    """A copy as a contiguous array, in logical (N, C, H, W) order whatever the memory format."""
    return tensor.detach().cpu().contiguous().clone().numpy()


def _format_of(parameter: Tensor) -> torch.memory_format:
    channels_last = parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format


def _pairs(state: Mapping[str, Tensor], weights: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Tensor]]:
    for name, array in weights.items():
        if tuple(array.shape) != tuple(state[name].shape):
            raise CheckpointError(
                f"{printable(name)} of the checkpoint is {array.shape}, this net's is {tuple(state[name].shape)}",
                hint="It belongs to another architecture",
            )
        require_same_kind(name, array.dtype, torch.empty(0, dtype=state[name].dtype).numpy().dtype)
        yield name, torch.from_numpy(array.copy())
