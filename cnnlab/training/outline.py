"""`--dry-run`: what a net is made of and what training it would take, without training it."""

import contextlib
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from cnnlab.errors import UsageError
from cnnlab.models import registry
from cnnlab.models.options import SeqOptions
from cnnlab.models.table import LayerTable, layer_table, without_weights
from cnnlab.recipe.schema import Recipe
from cnnlab.text import printable
from cnnlab.training import device as devices
from cnnlab.training.engines.parameter_groups import up_to
from cnnlab.training.events import Tell, tell_nobody
from cnnlab.training.net import build_net, fails_in, require_outputs
from cnnlab.training.prepare import divide, load_data, resolve_for
from cnnlab.training.schedule import Growth
from cnnlab.training.settings import Settings

CIFAR_SHAPE, CIFAR_CLASSES, CIFAR_IMAGES = (3, 32, 32), 10, 50_000
"""What is assumed where neither an input nor data are named: no data are needed then."""
PROBE_IMAGES = 32
PROBE_MACS = 2_000_000_000
"""Nets above this many multiply-adds for the probe are not timed: a dry run answers at once."""


@dataclass(frozen=True)
class Outline:
    """A net counted, and an estimate of its training."""

    arch: str
    table: LayerTable
    classes: int
    batch_size: int
    activation_bytes: int
    """What the layers give out for a batch, in bytes."""
    images_per_s: float | None
    """Measured on one small batch, optimiser and evaluation not counted; None where the net is too large for that."""
    epochs: int
    train_images: int | None
    work: float = 1.0
    """Of a training whose images grow, as a part of one on full images."""

    @property
    def minutes(self) -> float | None:
        """Expected minutes of training; None without data."""
        if self.images_per_s is None or self.train_images is None:
            return None
        return self.work * self.epochs * self.train_images / self.images_per_s / 60

    def document(self) -> dict[str, Any]:
        """The outline as one JSON object."""
        return {
            "arch": self.arch,
            "input_shape": list(self.table.input_shape),
            "classes": self.classes,
            "layers": [asdict(layer) for layer in self.table.layers],
            "weights": self.table.weights,
            "biases": self.table.biases,
            "parameters": self.table.parameters,
            "macs": self.table.macs,
            "batch_size": self.batch_size,
            "activation_bytes": self.activation_bytes,
            "images_per_s": self.images_per_s,
            "expected_minutes": self.minutes,
        }


def outline(
    recipe: Recipe,
    settings: Settings,
    *,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    tell: Tell = tell_nobody,
) -> Outline:
    """Count a net over `input_shape` (channels, height, width), or over the recipe's own data.

    With an input, or a `seq` that names its own, neither data nor network are asked for; with no data named either,
    CIFAR-10's shape and size are assumed. `classes` are those of that input, 10 where none are given.

    Raises:
        UsageError: the net does not fit the input or does not end in as many outputs as `classes` or the data ask
            for, or `classes` are given beside the data's own.
    """
    images, of_data, asked = None, False, classes is not None
    if input_shape is None and isinstance(recipe.model, SeqOptions) and recipe.model.input is not None:
        input_shape = parse_shape(recipe.model.input, "model.input")
    elif input_shape is None and asked:
        raise UsageError(
            "--classes goes with --input: data have classes of their own",
            hint="Leave it out, or give --input CxHxW too",
        )
    elif input_shape is None and recipe.data.name is None:
        input_shape, classes = CIFAR_SHAPE, CIFAR_CLASSES
        images = round(CIFAR_IMAGES * (1 - recipe.data.val_fraction))
    elif input_shape is None:
        data = load_data(recipe, settings, tell)
        height, width, channels = data.image_shape
        input_shape, classes, images = (channels, height, width), len(data.classes), len(divide(recipe, data)[0])
        recipe, of_data = resolve_for(recipe, data, images), True
    classes = CIFAR_CLASSES if classes is None else classes
    table, outputs = _count(recipe, input_shape, classes)
    size = recipe.train.batch_size
    device = devices.choose_device(settings.device)
    precision = devices.choose_precision(recipe.train.precision, device)
    element = {"bf16": 2, "fp32": 4, "fp64": 8}[precision]
    devices.keep_memory()
    devices.set_threads(recipe.threads)
    epochs = recipe.train.epochs
    if images is not None and images >= size:
        epochs = max(epochs, -(-recipe.train.min_steps // (images // size)))
    rate = None
    if table.macs * PROBE_IMAGES <= PROBE_MACS and table.parameters <= 10_000_000:
        channels, *sides = input_shape
        if of_data:  # what would refuse a training refuses this too
            net = build_net(recipe, input_shape, classes)
        else:
            net = registry.build(recipe.model, channels, classes, (sides[0], sides[1]))
        try:
            rate = _measure(net, input_shape, device, precision)
        except RuntimeError as error:
            raise fails_in(precision, recipe, error) from error
    if outputs is not None and (asked or of_data):
        require_outputs(outputs, classes, "the data have" if of_data else "--classes asks for")
    work = Growth.of(recipe.train, input_shape[1:]).part_of_full
    activations = table.activation_elements * size * element
    return Outline(recipe.model.arch, table, classes, size, activations, rate, epochs, images, work)


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was asked to: a clock read before would show the asking alone."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def parse_shape(text: str, where: str = "--input") -> tuple[int, int, int]:
    """(channels, height, width) of `CxHxW`.

    Raises:
        UsageError: it is written otherwise.
    """
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part[:9]) >= 1 for part in parts):
        raise UsageError(f"{where}: expected CxHxW, such as 3x224x224; received {printable(text)!r}")
    channels, height, width = (int(part[:9]) for part in parts)
    if channels > 4096 or max(height, width) > 65_536:
        raise UsageError(f"{where}: {printable(text)} is larger than any image: at most 4096x65536x65536")
    return channels, height, width


def _count(
    recipe: Recipe, input_shape: tuple[int, int, int], classes: int
) -> tuple[LayerTable, tuple[int, ...] | None]:
    """The layer table, without memory for the weights where the net is our own or torchvision's.

    Also the shape of what the net gives for one image; None where that is no tensor.
    """
    channels, height, width = input_shape
    with contextlib.nullcontext() if registry.is_user_file(recipe.model.arch) else without_weights():
        net = registry.build(recipe.model, channels, classes, (height, width))
    for key in ("freeze_up_to", "rest_up_to"):
        up_to(recipe.train, key, list(net.named_parameters()))
    given: list[Any] = []
    net.register_forward_hook(lambda module, arguments, output: given.append(output))
    try:
        table = layer_table(net, input_shape)
    except (RuntimeError, SystemExit) as error:  # a user's own may call exit
        problem = printable(str(error).split("\n")[0])
        raise UsageError(
            f"{printable(recipe.model.arch)} does not take an input of {channels}x{height}x{width}: {problem}"
        ) from None
    outputs = given[-1] if given else None
    return table, tuple(outputs.shape[1:]) if isinstance(outputs, torch.Tensor) else None


def _measure(net: Any, input_shape: tuple[int, int, int], device: torch.device, precision: str) -> float:
    """Training images per second, from the second of two small batches, forward and backward."""
    dtype = torch.float64 if precision == "fp64" else torch.float32
    layout = devices.choose_layout(net, device)
    net = net.to(device=device, dtype=dtype, memory_format=layout).eval()
    images = torch.zeros((PROBE_IMAGES, *input_shape), device=device, dtype=dtype).contiguous(memory_format=layout)
    seconds = 0.0
    for _ in range(2):
        _wait(device)
        started = time.perf_counter()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            outputs = net(images)
        if not outputs.requires_grad:
            raise UsageError("the outputs of the net do not depend on its parameters")
        outputs.float().square().mean().backward()
        _wait(device)
        seconds = time.perf_counter() - started
    return round(PROBE_IMAGES / seconds, 1)
