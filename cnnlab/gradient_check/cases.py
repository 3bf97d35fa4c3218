"""What each layer is tried on: the shapes and inputs that a careless backward survives only by luck."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnlab import backprop
from cnnlab.backprop import Array
from cnnlab.gradient_check.subject import LossAtTarget, Subject

Build = Callable[[np.random.Generator], Any]
Draw = Callable[[np.random.Generator], Array]


@dataclass(frozen=True)
class Case:
    """One trial of a layer: how it is made (float64, random weights), and how its input is drawn."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    draw: Draw
    training: bool = True
    build: Build | None = None

    def subject(self, layer: str, rng: np.random.Generator) -> Subject:
        """The layer with random parameters, and an input for it."""
        made = self.build(rng) if self.build else getattr(backprop, layer)(*self.arguments, **self.options)
        if isinstance(made, backprop.Layer):
            randomise(made, rng)
            made.train(self.training)
        return Subject(made, self.draw(rng), reference=made)


def randomise(layer: backprop.Layer, rng: np.random.Generator) -> None:
    """Parameters and buffers of float64 that no symmetry makes easy: none is 0 or 1, no two are alike."""
    drawn = {}
    for name, array in layer.state_dict().items():
        if name.endswith("num_batches_tracked"):
            drawn[name] = array
        elif name.endswith("running_var"):
            drawn[name] = rng.uniform(0.5, 2.0, array.shape)
        else:
            drawn[name] = rng.standard_normal(array.shape)
    layer.load_state_dict(drawn)


def _normal(*shape: int) -> Draw:
    return lambda rng: rng.standard_normal(shape)


def _integers(*shape: int) -> Draw:
    """Few values, so that many are equal: ties in a window, zeros into a ReLU."""
    return lambda rng: rng.integers(-2, 3, shape).astype(np.float64)


def _spread(*shape: int) -> Draw:
    """All values differ by a hundredth at least: no kink is near."""
    return lambda rng: rng.permutation(int(np.prod(shape))).reshape(shape) * 0.01 + 0.001


def _off_centre(*shape: int) -> Draw:
    """A mean that is not 0 and a deviation that is not 1, another for each channel."""

    def draw(rng: np.random.Generator) -> Array:
        by_channel = (1, shape[1]) + (1,) * (len(shape) - 2)
        return rng.uniform(0.5, 2, by_channel) * rng.standard_normal(shape) + rng.uniform(-2, 2, by_channel)

    return draw


def _case(name: str, draw: Draw, *arguments: Any, training: bool = True, **options: Any) -> Case:
    return Case(name, arguments, options, draw, training)


def _built(name: str, draw: Draw, build: Build, *, training: bool = True) -> Case:
    return Case(name, (), {}, draw, training, build)


_LINEAR = (
    _case("batch of 4", _normal(4, 5), 5, 3),
    _case("batch of 1", _normal(1, 5), 5, 3),
    _case("square weights", _normal(4, 4), 4, 4),
    _case("one unit in, one out", _normal(3, 1), 1, 1),
    _case("no bias", _normal(4, 3), 3, 5, bias=False),
)

_CONV = (
    _case("3×3, padding 1, oblong input", _normal(2, 2, 6, 5), 2, 4, 3, padding=1),
    _case("stride 2, padding 1", _normal(2, 3, 7, 6), 3, 2, 3, stride=2, padding=1),
    _case("stride 2, a row left over", _normal(2, 2, 6, 8), 2, 2, 3, stride=2),
    _case("oblong kernel, stride and padding", _normal(2, 2, 5, 6), 2, 3, (2, 3), stride=(2, 1), padding=(0, 2)),
    _case("stride larger than the kernel", _normal(2, 2, 8, 7), 2, 3, 2, stride=3),
    _case("1×1 kernel", _normal(2, 3, 3, 4), 3, 2, 1),
    _case("1×1 kernel, stride 2", _normal(2, 3, 5, 4), 3, 2, 1, stride=2),
    _case("batch of 1, one channel, one kernel", _normal(1, 1, 5, 4), 1, 1, 3, padding=1),
    _case("padding as large as the kernel", _normal(2, 1, 3, 4), 1, 2, 2, padding=2),
    _case("padding larger than the kernel, stride", _normal(2, 2, 4, 5), 2, 3, (1, 2), stride=(2, 3), padding=(1, 4)),
    _case("kernel as large as the input", _normal(2, 2, 3, 4), 2, 3, (3, 4)),
    _case("as many channels out as in", _normal(2, 3, 4, 5), 3, 3, 3, padding=1),
    _case("no bias", _normal(2, 2, 4, 5), 2, 3, 3, bias=False),
    _case("a batch beyond one chunk", _normal(50, 3, 7, 5), 3, 2, 3, padding=1),
    _case("maps beyond one chunk, padding 2", _normal(2, 1, 22, 23), 1, 2, 3, padding=2),
)

_POOLING = (
    _case("2×2", _spread(2, 3, 4, 6), 2),
    _case("window larger than stride, padding 1, oblong", _spread(2, 2, 7, 5), 3, stride=2, padding=1),
    _case("window smaller than stride", _spread(2, 2, 8, 7), 2, stride=3),
    _case("oblong window, stride and padding", _spread(2, 2, 5, 6), (2, 3), stride=(1, 2), padding=(1, 0)),
    _case("padding at the sides alone", _spread(2, 2, 4, 5), (2, 3), padding=(0, 1)),
    _case("padding 2", _spread(2, 1, 6, 5), 5, stride=2, padding=2),
    _case("stride 1", _spread(2, 2, 5, 4), 2, stride=1),
    _case("rows left over", _spread(2, 2, 5, 7), 2),
    _case("batch of 1, one channel, window as large as the input", _spread(1, 1, 3, 4), (3, 4)),
    _case("below zero, with padding", lambda rng: _spread(2, 2, 4, 5)(rng) - 3, 3, stride=2, padding=1),
    _case("random values", _normal(3, 2, 6, 5), 2, stride=1),
    _case("a batch beyond one chunk", _normal(40, 2, 30, 32), 3, stride=2, padding=1),
)

_MAX_POOLING = (
    *_POOLING,
    _case("ties", _integers(2, 2, 6, 5), 2),
    _case("ties, overlapping, padding 1", _integers(2, 2, 6, 5), 3, stride=1, padding=1),
)

_AVG_POOLING = (
    *_POOLING,
    _case("padding not counted", _normal(2, 2, 5, 6), 3, stride=2, padding=1, count_include_pad=False),
)

_GLOBAL_POOLING = (
    _case("oblong input", _normal(3, 2, 4, 5), 1),
    _case("batch of 1, one channel, one element", _normal(1, 1, 1, 1), 1),
)

_GLOBAL_MAX_POOLING = (
    *_GLOBAL_POOLING,
    _case("below zero", lambda rng: _spread(2, 2, 4, 5)(rng) - 3, 1),
    _case("ties", _integers(3, 2, 4, 5), 1),
)

_ACTIVATION = (
    _case("a batch of rows", _normal(4, 6)),
    _case("a batch of maps", _normal(2, 3, 4, 5)),
    _case("large and small values", lambda rng: 4 * rng.standard_normal((3, 7))),
    _case("zeros", _integers(3, 8)),
)

_FLATTEN = (_case("maps", _normal(3, 2, 4, 5)), _case("batch of 1, one channel", _normal(1, 1, 3, 2)))

_DROPOUT = (
    _case("training, p = 0.5", _normal(6, 8), 0.5),
    _case("training, p = 0.2, maps", _normal(2, 3, 4, 5), 0.2),
    _case("evaluation", _normal(4, 5), 0.5, training=False),
)

_BATCH_NORM_1D = (
    _case("training", _off_centre(6, 3), 3),
    _case("training, positions", _off_centre(3, 2, 5), 2, eps=0.1),
    _case("evaluation", _off_centre(5, 3), 3, training=False),
    _case("evaluation, batch of 1", _off_centre(1, 3), 3, training=False),
    _case("training, one channel", _off_centre(7, 1), 1, momentum=0.3),
)

_BATCH_NORM_2D = (
    _case("training", _off_centre(3, 2, 4, 5), 2),
    _case("training, batch of 1", _off_centre(1, 3, 4, 3), 3, eps=0.1),
    _case("evaluation", _off_centre(2, 3, 4, 3), 3, training=False),
    _case("training, one channel", _off_centre(4, 1, 3, 2), 1, momentum=0.3),
    _case("training, a batch for two threads", _off_centre(40, 4, 20, 21), 4),
    _case("evaluation, a batch for two threads", _off_centre(40, 4, 20, 21), 4, training=False),
)


def _residual(rng: np.random.Generator) -> backprop.Residual:
    return backprop.Residual(
        backprop.Sequential(
            {
                "conv1": backprop.Conv2d(2, 2, 3, padding=1, bias=False),
                "norm1": backprop.BatchNorm2d(2),
                "act1": backprop.Tanh(),
                "conv2": backprop.Conv2d(2, 2, 3, padding=1),
            }
        )
    )


def _projected(rng: np.random.Generator) -> backprop.Residual:
    body = backprop.Sequential(backprop.Conv2d(2, 4, 3, 2, 1), backprop.Sigmoid(), backprop.Conv2d(4, 4, 3, padding=1))
    return backprop.Residual(body, shortcut=backprop.Conv2d(2, 4, 1, 2, bias=False))


def _perceptron(rng: np.random.Generator) -> backprop.Sequential:
    linear = backprop.Linear
    return backprop.Sequential(linear(4, 4), backprop.Tanh(), linear(4, 4), backprop.Sigmoid(), linear(4, 4))


def _small_cnn(rng: np.random.Generator) -> backprop.Sequential:
    return backprop.Sequential(
        {
            "conv1": backprop.Conv2d(1, 2, 3, padding=1),
            "act1": backprop.ReLU(),
            "pool1": backprop.MaxPool2d(2),
            "flatten": backprop.Flatten(),
            "fc1": backprop.Linear(12, 3),
        }
    )


_RESIDUAL = (
    _built("F(x) + x", _normal(3, 2, 4, 3), _residual),
    _built("F(x) + x, evaluation", _normal(2, 2, 4, 3), _residual, training=False),
    _built("with a projection", _normal(2, 2, 5, 4), _projected),
)

_SEQUENTIAL = (
    _built("three linear layers with Tanh and Sigmoid", _normal(3, 4), _perceptron),
    _built("convolution, ReLU, pooling, linear", _normal(2, 1, 4, 6), _small_cnn),
)


def _labels(batch: int, classes: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: rng.integers(0, classes, batch)


def _soft(batch: int, classes: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: rng.dirichlet(np.ones(classes), batch)


def _loss(make: Callable[[], backprop.Loss], target: Draw) -> Build:
    return lambda rng: LossAtTarget(make(), target(rng))


def _smoothed() -> backprop.CrossEntropyLoss:
    return backprop.CrossEntropyLoss(label_smoothing=0.1)


_HALF_SQUARED = (
    _built("labels", _normal(4, 5), _loss(backprop.HalfSquaredError, _labels(4, 5))),
    _built("any targets, batch of 1", _normal(1, 3), _loss(backprop.HalfSquaredError, _normal(1, 3))),
)

_CROSS_ENTROPY = (
    _built("labels", _normal(4, 5), _loss(backprop.CrossEntropyLoss, _labels(4, 5))),
    _built(
        "batch of 1, logits whose exponential overflows",
        lambda rng: 1000 + rng.uniform(-3, 3, (1, 3)),
        _loss(backprop.CrossEntropyLoss, _labels(1, 3)),
    ),
    _built("label smoothing", _normal(4, 5), _loss(_smoothed, _labels(4, 5))),
    _built("soft targets", _normal(4, 3), _loss(backprop.CrossEntropyLoss, _soft(4, 3))),
    _built("weights as targets, smoothed", _normal(4, 3), _loss(_smoothed, lambda rng: rng.uniform(0, 2, (4, 3)))),
)

CASES: dict[str, tuple[Case, ...]] = {
    "Linear": _LINEAR,
    "Conv2d": _CONV,
    "MaxPool2d": _MAX_POOLING,
    "AvgPool2d": _AVG_POOLING,
    "AdaptiveMaxPool2d": _GLOBAL_MAX_POOLING,
    "AdaptiveAvgPool2d": _GLOBAL_POOLING,
    "ReLU": _ACTIVATION,
    "Sigmoid": _ACTIVATION,
    "Tanh": _ACTIVATION,
    "GELU": _ACTIVATION,
    "SiLU": _ACTIVATION,
    "Identity": _ACTIVATION,
    "Flatten": _FLATTEN,
    "Dropout": _DROPOUT,
    "BatchNorm1d": _BATCH_NORM_1D,
    "BatchNorm2d": _BATCH_NORM_2D,
    "Residual": _RESIDUAL,
    "Sequential": _SEQUENTIAL,
    "HalfSquaredError": _HALF_SQUARED,
    "CrossEntropyLoss": _CROSS_ENTROPY,
}
"""Every layer and loss of the hand-derived engine, with its cases."""
