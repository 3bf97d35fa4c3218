"""The hand-derived engine: the torch net is mirrored layer by layer and trained by `cnnlab.backprop`."""

import copy
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np

from cnnlab import backprop
from cnnlab.backprop import Array, Layer
from cnnlab.backprop.mirror import mirror
from cnnlab.data import Moves, pick
from cnnlab.errors import CheckpointError, NumericError, UsageError
from cnnlab.randomness import generator
from cnnlab.recipe.schema import OptimSection, TrainSection
from cnnlab.text import printable
from cnnlab.training.engines.base import Batch, LayerGradient, StepKey, count_of_updates
from cnnlab.training.engines.diagnosis import bad_gradient, bad_output, bad_weight, leaves, not_finite
from cnnlab.training.engines.numpy_gradient_recorder import NumpyGradientRecorder, walk
from cnnlab.training.engines.parameter_groups import Trained, parameter_groups, set_rates, up_to
from cnnlab.training.engines.saved_state import optimizer_state, require_same_kind
from cnnlab.training.profiling import OFF

EVALUATION_BATCH = 250
_PRECISIONS = {"auto": "fp32", "fp32": "fp32", "fp64": "fp64"}


class NumpyEngine:
    """Trains any net of the layers in `cnnlab.backprop.mirror.MIRRORED`, on the CPU, in float32 or float64."""

    name = "numpy"
    device = "cpu"

    def __init__(
        self, net: Any, train: TrainSection, optim: OptimSection, *, mean: np.ndarray, std: np.ndarray
    ) -> None:
        """Mirror `net`, a torch module; `mean` and `std` (C,) of the training pictures' levels normalise all pictures.

        Raises:
            UsageError: the net has a layer, or the recipe a precision or a key, that this engine lacks.
        """
        if train.precision not in _PRECISIONS:
            raise UsageError(
                f"the numpy engine has no precision {train.precision}", hint="Use --precision fp32 or fp64"
            )
        if train.lookahead:
            raise UsageError(
                f"the numpy engine has no train.lookahead, received {train.lookahead}",
                hint="Leave it out: --set train.lookahead=0",
            )
        if train.rest_up_to is not None:
            raise UsageError(
                f"the numpy engine has no train.rest_up_to, received {printable(train.rest_up_to)!r}",
                hint="Leave it out: --set train.rest_up_to=none",
            )
        if train.compile:
            raise UsageError(
                "the numpy engine has no train.compile, received true", hint="Leave it out: --set train.compile=false"
            )
        self.train, self.precision = train, _PRECISIONS[train.precision]
        self.dtype = np.dtype(np.float64 if self.precision == "fp64" else np.float32)
        self.net = mirror(net, self.dtype)
        self.averaged = copy.deepcopy(self.net).eval() if train.ema else None
        self.updates = 0
        lowest = set(up_to(train, "freeze_up_to", list(self.net.named_parameters())))
        self.optim, self.optimizer = optim, _optimizer(self.net, optim, lowest)
        self.profile = OFF
        parameters = list(self.net.parameters())
        self._probe = next((parameter for parameter in parameters if parameter.value.ndim == 1), parameters[0])
        self._losses = [_loss(train), _loss(train)]
        self._mean = mean.astype(self.dtype)
        self._scale = (1 / std.astype(self.dtype)).astype(self.dtype)

    def step(self, batch: Batch, lr: float, key: StepKey, lowest_lr: float | None = None, rest: bool = False) -> float:
        """Forward, backward, clip, update, average: the mean objective over the batch.

        Raises:
            NumericError: a value on the way is not finite; the weights are those of before the step.
        """
        self.net.train()
        for name, layer in walk(self.net):
            if isinstance(layer, backprop.Dropout):
                layer.rng = generator(key.seed, f"dropout:{name}", key.epoch, key.step)
        if lowest_lr == 0:
            self._freeze()
        set_rates(self.optimizer.param_groups, lr, lowest_lr)
        with self.profile.phase("data"):
            images = self._normalised(batch.images, batch.size)
            if batch.partners is not None:
                images = batch.share * images + (1 - batch.share) * images[batch.partners]
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused by name below
                with self.profile.phase("forward"):
                    value, delta = self._objective(self.net.forward(images.astype(self.dtype, copy=False)), batch)
                with self.profile.phase("backward"):
                    self.net.backward(delta)
        except NumericError as error:
            raise not_finite(f"numbers became not finite ({error.message})", key, self._first_bad(images)) from error
        with self.profile.phase("optimiser"):
            self._require_finite(value, key, images)
            self.optimizer.step()
            self._average()
        return value

    def look_ahead(self, decay: float) -> None:
        """Refused at the beginning: this engine has no slow average."""

    def wait(self) -> None:
        """Return at once: NumPy has done what it was asked."""

    def picker(self, images: np.ndarray, cutout: int, fill: np.ndarray) -> Callable[[Moves], np.ndarray]:
        """What picks and augments batches: NumPy, on the host."""
        return partial(pick, images, cutout=cutout, fill=fill)

    def share_statistics(self) -> None:
        """Do nothing: this engine is for one process."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Outputs (N, classes) in the engine's precision of (N, H, W, C) uint8 pictures."""
        net = (self.averaged or self.net).eval()
        outputs = [
            net.forward(self._normalised(images[start : start + EVALUATION_BATCH]))
            for start in range(0, len(images), EVALUATION_BATCH)
        ]
        return np.concatenate(outputs)

    def layer_gradients(self, images: np.ndarray, labels: np.ndarray) -> list[LayerGradient]:
        """δ, ∂J/∂w, mean f′ and dead units of every weight layer; nothing is changed by it."""
        net = copy.deepcopy(self.net).train()
        for name, layer in walk(net):
            if isinstance(layer, backprop.Dropout):
                layer.rng = generator(0, f"dropout:{name}")
        recorder = NumpyGradientRecorder(net, len(images))
        loss = _loss(self.train)
        loss.forward(net.forward(self._normalised(images)), labels)
        net.backward(loss.backward())
        return recorder.result()

    def weights(self) -> dict[str, np.ndarray]:
        """The weights and buffers that `predict` uses (copies)."""
        return (self.averaged or self.net).state_dict()

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take weights and buffers; the moving average starts from them too.

        Raises:
            CheckpointError: names or shapes are those of another net.
        """
        _load(self.net, weights, self.dtype)
        if self.averaged is not None:
            _load(self.averaged, weights, self.dtype)

    def training_state(self) -> dict[str, np.ndarray]:
        """Weights, moving average and optimiser under `model.`, `ema.` and `optimizer.`, and the count of updates."""
        state = {f"model.{name}": array for name, array in self.net.state_dict().items()}
        if self.averaged is not None:
            state |= {f"ema.{name}": array for name, array in self.averaged.state_dict().items()}
        for name, parameter in self.net.named_parameters():
            for key, value in self.optimizer.state(parameter).items():
                state[f"optimizer.{key}.{name}"] = np.array(value)
        return state | {"updates": np.array(self.updates)}

    def load_training_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what `training_state` gave.

        Raises:
            CheckpointError: it belongs to another net or optimiser.
        """
        _load(self.net, _under("model.", state), self.dtype)
        if self.averaged is not None:
            _load(self.averaged, _under("ema.", state), self.dtype)
        parameters = dict(self.net.named_parameters())
        arrays = {name: parameter.value for name, parameter in parameters.items()}
        for name, saved in optimizer_state(state, arrays, self.optim, all_trained=True).items():
            self.optimizer.state(parameters[name]).update({key: np.array(array) for key, array in saved.items()})
        self.updates = count_of_updates(state)

    def _normalised(self, images: np.ndarray, size: tuple[int, int] | None = None) -> Array:
        """(B, H, W, C) uint8 to normalised (B, C, H, W), first shrunk to `size` where one is given."""
        levels = images.transpose(0, 3, 1, 2).astype(self.dtype, order="C")  # (B, C, H, W)
        if size is not None:
            down, across = (_shrinking(*sides).astype(self.dtype) for sides in zip(levels.shape[2:], size, strict=True))
            levels = down @ levels @ across.T
        levels -= self._mean[:, None, None]
        levels *= self._scale[:, None, None]
        return levels

    def _objective(self, outputs: Array, batch: Batch) -> tuple[float, Array]:
        """The mean over the batch of what is optimised, and δ at the outputs."""
        first, second = self._losses
        value = first.forward(outputs, batch.labels)
        if batch.partners is None:
            return value, first.backward()
        blended = second.forward(outputs, batch.labels[batch.partners])
        delta = batch.share * first.backward() + (1 - batch.share) * second.backward()
        return batch.share * value + (1 - batch.share) * blended, delta.astype(outputs.dtype, copy=False)

    def _freeze(self) -> None:
        """Train the layers up to `train.freeze_up_to` no more."""
        self.optimizer.param_groups[:] = [group for group in self.optimizer.param_groups if not group["lowest"]]

    def _average(self) -> None:
        """Exponential moving average of weights and statistics, in which the first updates weigh more."""
        if self.averaged is None:
            return
        self.updates += 1
        decay = min(self.train.ema, (1 + self.updates) / (10 + self.updates))
        average, current = self.averaged.state_dict(), self.net.state_dict()
        for name, array in average.items():
            if array.dtype.kind == "f":
                array += ((1 - decay) * (current[name] - array)).astype(array.dtype)
            else:
                average[name] = current[name]
        self.averaged.load_state_dict(average)

    def _require_finite(self, value: float, key: StepKey, images: Array) -> None:
        """Refuse a step whose objective or gradients are not finite; clip the gradients where the recipe says so."""
        if not np.isfinite(value):
            raise not_finite(f"the objective became {value}", key, self._first_bad(images))
        if not self._gradient_is_finite():
            raise not_finite("a gradient became not finite", key, self._first_bad(images))
        if self.train.clip_norm is not None:
            trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            norm = backprop.clip_grad_norm(trained, self.train.clip_norm)
            if not np.isfinite(norm):
                raise not_finite(f"the gradient's norm became {norm}", key, self._first_bad(images))

    def _gradient_is_finite(self) -> bool:
        """Look at one small gradient, the lowest layer's, in which the δ of all others meet; if it is bad, at all."""
        if np.isfinite(self._probe.grad.sum()):
            return True
        return all(bool(np.isfinite(parameter.grad).all()) for parameter in self.net.parameters())

    def _first_bad(self, images: Array) -> str | None:
        """What to say of the first tensor that is not finite: a weight, else an output, else a gradient."""

        def watch(layer: Layer, note: Any) -> Any:
            forward = layer.forward

            def noting(x: Array) -> Array:
                output = forward(x)
                note(bool(np.isfinite(output).all()))
                return output

            vars(layer)["forward"] = noting
            return lambda: vars(layer).pop("forward")

        gradients = [(name, p.grad) for name, p in self.net.named_parameters() if p.name in p.layer.grads]
        with np.errstate(all="ignore"):
            return (
                bad_weight((name, bool(np.isfinite(p.value).all())) for name, p in self.net.named_parameters())
                or bad_output(
                    leaves(walk(self.net), lambda layer: layer.children()),
                    lambda: self.net.forward(images.astype(self.dtype, copy=False)),
                    watch,
                )
                or bad_gradient((name, bool(np.isfinite(array).all())) for name, array in reversed(gradients))
            )


def _loss(train: TrainSection) -> backprop.Loss:
    return (
        backprop.HalfSquaredError()
        if train.loss == "mse"
        else backprop.CrossEntropyLoss(label_smoothing=train.label_smoothing)
    )


def _optimizer(net: Layer, optim: OptimSection, lowest: Collection[backprop.Parameter]) -> backprop.Optimizer:
    """SGD, Adam, AdamW or Muon, with the groups of `parameter_groups`; `lowest`: the lowest layers' parameters."""
    norms = (backprop.BatchNorm1d, backprop.BatchNorm2d)
    groups: list[Any] = parameter_groups(
        [
            Trained(each, each.value.ndim, each.name == "bias" and isinstance(each.layer, norms), each in lowest)
            for each in net.parameters()
        ],
        optim,
    )
    if optim.name in ("sgd", "muon"):
        sgd = backprop.SGD if optim.name == "sgd" else backprop.Muon
        return sgd(groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov)
    adam = backprop.Adam if optim.name == "adam" else backprop.AdamW
    return adam(groups, lr=optim.lr, betas=(optim.momentum, 0.999))


def _shrinking(pixels: int, fewer: int) -> Array:
    """(fewer, pixels): each row gives one pixel of a shrunk line, as by Pillow's bilinear filter.

    A triangle that is 2 · pixels / fewer wide, around the place of the new pixel's centre, its sum made 1.
    """
    centres = (np.arange(fewer) + 0.5) * pixels / fewer
    distances = np.abs(np.arange(pixels) + 0.5 - centres[:, None]) * fewer / pixels
    triangles = np.maximum(0.0, 1.0 - distances)
    return triangles / triangles.sum(axis=1, keepdims=True)


def _under(prefix: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def _load(net: Layer, weights: Mapping[str, np.ndarray], dtype: np.dtype[Any]) -> None:
    """Take weights and buffers, name by name."""
    for name, own in net.state_dict().items():
        if name in weights:
            require_same_kind(name, weights[name].dtype, np.asarray(own).dtype)
    try:
        net.load_state_dict(
            {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in weights.items()}
        )
    except backprop.ShapeError as error:
        raise CheckpointError(
            f"the checkpoint does not fit this net: {error.message}", hint="It belongs to another architecture"
        ) from error
