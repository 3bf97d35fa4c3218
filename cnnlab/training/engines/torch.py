"""The PyTorch engine: channels_last, autocast, fused optimisers, a moving average of the weights."""

import contextlib
import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.errors import MachineError
from cnnlab.models.layers import Dropout
from cnnlab.randomness import Share, generator
from cnnlab.randomness import key as random_key
from cnnlab.recipe.schema import OptimSection, TrainSection
from cnnlab.text import printable
from cnnlab.training.device import choose_layout
from cnnlab.training.engines.base import Batch, LayerGradient, StepKey, count_of_updates
from cnnlab.training.engines.diagnosis import bad_gradient, bad_output, bad_weight, leaves, not_finite
from cnnlab.training.engines.gradient_sum import GradientSum
from cnnlab.training.engines.on_device import Picker, picker, sent
from cnnlab.training.engines.parameter_groups import set_rates
from cnnlab.training.engines.torch_gradient_recorder import TorchGradientRecorder
from cnnlab.training.engines.torch_optimizer import make_optimizer, update
from cnnlab.training.engines.torch_state import arrays, load_state, load_tensors, load_weights, state_of
from cnnlab.training.engines.trained_layers import TrainedLayers
from cnnlab.training.profiling import OFF
from cnnlab.training.world import ALONE, World

EVALUATION_BATCH = 250
"""The outputs of a larger one's layers leave a CPU's caches: at 1,000, `cnn` takes 1.6 times as long."""


class TorchEngine:
    """Trains any `nn.Module` from (N, C, H, W) to (N, classes)."""

    name = "torch"

    def __init__(
        self,
        net: nn.Module,
        train: TrainSection,
        optim: OptimSection,
        *,
        mean: np.ndarray,
        std: np.ndarray,
        device: torch.device,
        precision: str,
        world: World = ALONE,
    ) -> None:
        """Take over `net`; `mean` and `std` (C,) of the training pictures' levels 0-255 normalise all pictures."""
        self.train, self.precision, self.device = train, precision, device.type
        self._device = device
        self.dtype = torch.float64 if precision == "fp64" else torch.float32
        self._layout = choose_layout(net, device)
        self.net = net.to(device=device, dtype=self.dtype).to(memory_format=self._layout)
        self.averaged: nn.Module | None = None
        self.slow: dict[str, Tensor] | None = None
        self._begin_averages()
        self.updates = 0
        self._trained = TrainedLayers(self.net, train)
        self.optim, self.optimizer = optim, make_optimizer(self.net, optim, device, self._trained.lowest)
        self._mean = torch.as_tensor(mean, dtype=self.dtype, device=device).view(1, -1, 1, 1)
        self._scale = (1 / torch.as_tensor(std, dtype=self.dtype, device=device)).view(1, -1, 1, 1)
        self._draws = any(_may_draw(layer) for layer in self.net.modules())
        self.profile = OFF
        self.waits = device.type != "cuda"
        self._forward: Any = _compiled(self.net) if train.compile else self.net
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # batches have few shapes
            torch.backends.cudnn.allow_tf32 = precision != "fp32"  # which has 10 bits of fp32's 23
        self.world = world
        self._sum = GradientSum(world, self.net.parameters()) if world.size > 1 else None
        self._dropouts = [(name, layer) for name, layer in self.net.named_modules() if isinstance(layer, Dropout)]

    def step(
        self, batch: Batch, lr: float, key: StepKey, lowest_lr: float | None = None, rest: bool = False
    ) -> float | Tensor:
        """Forward, backward, clip, update, average: the mean objective over the batch.

        On a CUDA device the host does not wait: the objective comes as a tensor, and is NaN if the step was refused.

        Raises:
            NumericError: the objective or a gradient is not finite; the weights are those of before the step.
            MachineError: the net cannot be compiled here.
        """
        self.net.train()
        whole = batch.whole or len(batch.labels)
        rows = self.world.rows(whole)
        for name, layer in self._dropouts:
            layer.rng = Share(generator(key.seed, f"dropout:{name}", key.epoch, key.step), rows, whole)
        if self._draws:
            purpose = f"torch:{self.world.rank}" if self.world.rank else "torch"
            torch.manual_seed(random_key(key.seed, purpose, key.epoch, key.step) % 2**63)
        if lowest_lr == 0 and self._trained.freeze_lowest() and self._sum is not None:
            self._sum = GradientSum(self.world, self.net.parameters())
        self._trained.choose(key.epoch, rest=rest)
        set_rates(self.optimizer.param_groups, lr, lowest_lr)
        with self.profile.phase("data"):
            images, labels = self._to_device(batch.images, batch.size), sent(batch.labels, self._device)
            partners = None if batch.partners is None else sent(batch.partners, self._device)
            if partners is not None:
                mine = images[: len(partners)]
                images = mine.mul(batch.share).add_(images[partners], alpha=1 - batch.share)
        with self.profile.phase("forward"):
            with self._autocast():
                outputs = self._forward(images)
            objective = self._objective(outputs, labels[: len(outputs)])
            if partners is not None:
                blended = self._objective(outputs, labels[partners])
                objective = batch.share * objective + (1 - batch.share) * blended
        with self.profile.phase("backward"):
            self.net.zero_grad(set_to_none=True)
            if self._sum is not None:
                objective = objective * (len(outputs) / whole)
            objective.backward()
        if self._sum is not None:
            with self.profile.phase("all-reduce"):
                objective = self._sum(objective.detach())
        with self.profile.phase("optimiser"):
            value = objective.detach() if self.waits else self._guarded(objective.detach())
            if self.waits:
                self._require_finite(float(value), key, images)
            update(self.optimizer)
            self._average()
        return float(value) if self.waits else value

    @torch.no_grad()
    def look_ahead(self, decay: float) -> None:
        """Draw the weights and their slow average together: both become decay · average + (1 − decay) · weights."""
        assert self.slow is not None
        mine = _floats(self.net)
        torch._foreach_lerp_(list(self.slow.values()), list(mine.values()), 1 - decay)
        torch._foreach_copy_(list(mine.values()), list(self.slow.values()))

    def wait(self) -> None:
        """Return when the device has done all that was asked of it; a CPU always has."""
        if self.device != "cpu":
            getattr(torch, self.device).synchronize()

    def picker(self, images: np.ndarray, cutout: int, fill: np.ndarray) -> Picker:
        """What picks and augments batches: on the device, where the training set then lies, or on the host."""
        return picker(images, cutout, fill, self._device)

    def share_statistics(self) -> None:
        """Replace running statistics, and other buffers, by their mean over the processes: what is equal stays so."""
        if self._sum is None:
            return
        nets = [net for net in (self.net, self.averaged) if net is not None]
        buffers = [buffer for net in nets for buffer in net.buffers() if buffer.is_floating_point()]
        buffers += [self.slow[name] for name, _ in self.net.named_buffers() if name in self.slow] if self.slow else []
        if buffers:
            mean = torch.cat([buffer.flatten().double() for buffer in buffers])
            self.world.add_up(mean.div_(self.world.size))
            for buffer, part in zip(buffers, mean.split([buffer.numel() for buffer in buffers]), strict=True):
                buffer.copy_(part.view_as(buffer))

    @torch.no_grad()
    def take_over_from_first(self) -> None:
        """Take the weights and buffers of rank 0, saved or not: what a user's own net drew may differ by process."""
        for tensor in (*self.net.parameters(), *self.net.buffers()):
            whole = tensor.contiguous()
            self.world.copy_from_first([whole])
            tensor.copy_(whole)
        self._begin_averages()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Outputs (N, classes) in float32 (float64 in fp64) of (N, H, W, C) uint8 pictures."""
        net = self.averaged or self.net
        net.eval()
        with torch.inference_mode(), self._autocast():
            outputs = [
                net(self._to_device(images[start : start + EVALUATION_BATCH])).to(self.dtype)
                for start in range(0, len(images), EVALUATION_BATCH)
            ]
        return torch.cat(outputs).cpu().numpy()  # once: until then a GPU's host does not wait

    def layer_gradients(self, images: np.ndarray, labels: np.ndarray) -> list[LayerGradient]:
        """δ, ∂J/∂w, mean f′ and dead units of every weight layer, without autocast; nothing is changed by it."""
        net = copy.deepcopy(self.net).train().requires_grad_()
        for name, layer in net.named_modules():
            if isinstance(layer, Dropout):
                layer.rng = generator(0, f"dropout:{name}")
        recorder = TorchGradientRecorder(net, len(images))
        self._objective(net(self._to_device(images)), torch.from_numpy(labels).to(self._device)).backward()
        return recorder.result()

    def weights(self) -> dict[str, np.ndarray]:
        """The weights and buffers that `predict` uses, as contiguous arrays (copies)."""
        return arrays((self.averaged or self.net).state_dict())

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take weights and buffers; the moving average starts from them too.

        Raises:
            CheckpointError: names or shapes are those of another net.
        """
        load_weights(self.net, weights)
        self._begin_averages()

    def training_state(self) -> dict[str, np.ndarray]:
        """Weights and averages under `model.`, `ema.` and `slow.`, the optimiser, and the count of updates."""
        state = state_of(self.net, self.averaged, self.optimizer)
        state |= {f"slow.{name}": array for name, array in arrays(self.slow or {}).items()}
        return state | {"updates": np.array(self.updates)}

    def load_training_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what `training_state` gave.

        Raises:
            CheckpointError: it belongs to another net or optimiser.
        """
        load_state(state, self.net, self.averaged, self.optimizer, self.optim)
        if self.slow is not None:
            load_tensors(self.slow, state, "slow.")
        self.updates = count_of_updates(state)

    def _to_device(self, images: np.ndarray | Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(B, H, W, C) uint8 to normalised (B, C, H, W), mostly channels_last: the layout it already has.

        Images that are shrunk to `size` are smoothed first, as by Pillow's bilinear filter.
        """
        there = images if isinstance(images, Tensor) else sent(images, self._device)
        pixels = there.permute(0, 3, 1, 2).to(self.dtype)  # (B, C, H, W)
        if size is not None:
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
            pixels = pixels.contiguous(memory_format=self._layout)
        if self._layout == torch.contiguous_format:
            pixels = pixels.clone(memory_format=self._layout)  # of one channel, contiguous() leaves the strides
        return pixels.sub_(self._mean).mul_(self._scale)

    def _objective(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean over the batch of what is optimised."""
        outputs = outputs.to(self.dtype)
        if self.train.loss == "cross-entropy":
            return F.cross_entropy(outputs, labels, label_smoothing=self.train.label_smoothing)
        targets = F.one_hot(labels, outputs.shape[1]).to(self.dtype)
        return 0.5 * (outputs - targets).square().sum(dim=1).mean()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def _begin_averages(self) -> None:
        """Start the moving average and the slow one, where the recipe has them, from the net as it is."""
        self.averaged = copy.deepcopy(self.net).requires_grad_(False) if self.train.ema else None
        self.slow = _floats(copy.deepcopy(self.net)) if self.train.lookahead else None

    def _average(self) -> None:
        """Exponential moving average of weights and statistics; the first updates weigh more: a good start."""
        if self.averaged is None:
            return
        self.updates += 1
        decay = min(self.train.ema, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            mine, theirs = self.averaged.state_dict(), self.net.state_dict()
            floats = [name for name, tensor in mine.items() if tensor.is_floating_point()]
            torch._foreach_lerp_([mine[name] for name in floats], [theirs[name] for name in floats], 1 - decay)
            for name in mine.keys() - set(floats):
                mine[name].copy_(theirs[name])

    def _require_finite(self, value: float, key: StepKey, images: Tensor) -> None:
        """Refuse a step whose objective or gradients are not finite; clip the gradients where the recipe says so."""
        if not math.isfinite(value):
            raise not_finite(f"the objective became {value}", key, self._first_bad(images))
        if not self._trained.gradient_is_finite():
            raise not_finite("a gradient became not finite", key, self._first_bad(images))
        if self.train.clip_norm is not None:
            norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), self.train.clip_norm))
            if not math.isfinite(norm):
                raise not_finite(f"the gradient's norm became {norm}", key, self._first_bad(images))

    def _guarded(self, objective: Tensor) -> Tensor:
        """As `_require_finite`, on the device: the fused optimisers leave out a step for which `found_inf` is 1.

        Weights and optimiser are then those of before the step; the moving average goes on, until the run is ended.
        """
        finite = objective.isfinite()
        if (probe := self._trained.probe()) is not None:
            finite = finite & probe.isfinite().all()
        if self.train.clip_norm is not None:
            finite = finite & nn.utils.clip_grad_norm_(self.net.parameters(), self.train.clip_norm).isfinite()
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # as torch.amp.GradScaler sets it
        return torch.where(finite, objective, math.nan)

    def _first_bad(self, images: Tensor) -> str | None:
        """What to say of the first tensor that is not finite: a weight, else an output, else a gradient."""

        def watch(layer: nn.Module, note: Any) -> Any:
            return layer.register_forward_hook(
                lambda _, inputs, output: note(bool(output.isfinite().all())) if isinstance(output, Tensor) else None
            ).remove

        gradients = [(name, p.grad) for name, p in self.net.named_parameters() if p.grad is not None]
        with torch.no_grad(), self._autocast():
            return (
                bad_weight((name, bool(tensor.isfinite().all())) for name, tensor in self.net.named_parameters())
                or bad_output(
                    leaves(self.net.named_modules(), lambda layer: list(layer.children())),
                    lambda: self.net(images),
                    watch,
                )
                or bad_gradient((name, bool(gradient.isfinite().all())) for name, gradient in reversed(gradients))
            )


def _compiled(net: nn.Module) -> Any:
    """The net by torch.compile; what it says where it cannot is turned into a MachineError."""
    compiled = torch.compile(net)

    def forward(images: Tensor) -> Any:
        try:
            return compiled(images)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise MachineError(
                f"the net cannot be compiled here: {printable(str(error).strip().splitlines()[0])}",
                hint="Leave train.compile out; it needs a C++ compiler, on a GPU also Triton",
            ) from error

    return forward


def _floats(net: nn.Module) -> dict[str, Tensor]:
    """A net's weights and statistics, without counts: the tensors themselves, by name."""
    return {name: tensor for name, tensor in net.state_dict().items() if tensor.is_floating_point()}


def _may_draw(layer: nn.Module) -> bool:
    """Whether a layer may use torch's own random numbers: its dropout does, and foreign code is not known."""
    known = type(layer).__module__.startswith(("torch.nn.", "cnnlab."))
    return not known or isinstance(layer, nn.modules.dropout._DropoutNd | nn.RReLU)
