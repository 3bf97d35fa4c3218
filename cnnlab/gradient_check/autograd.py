"""The same layer in PyTorch, with the same weights: its autograd is the second opinion."""

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import nn

from cnnlab import backprop
from cnnlab.backprop import Array
from cnnlab.gradient_check.subject import LossAtTarget, dropout_generator, seed_dropout
from cnnlab.models.layers import Dropout, Residual


class _Loss(nn.Module):
    def __init__(self, subject: LossAtTarget) -> None:
        super().__init__()
        self._subject = subject

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        loss, target = self._subject.loss, torch.from_numpy(np.asarray(self._subject.target))
        if isinstance(loss, backprop.CrossEntropyLoss):
            value = nn.functional.cross_entropy(x, target, label_smoothing=loss.label_smoothing)
        else:
            hot = nn.functional.one_hot(target, x.shape[1]) if target.ndim == 1 else target
            value = 0.5 * (x - hot).square().sum(dim=1).mean()
        return value.reshape(1)


def twin(layer: Any) -> nn.Module:
    """The torch module of the same name, arguments and state as a layer of `cnnlab.backprop`, in float64."""
    module = _module(layer).double()
    if isinstance(layer, backprop.Layer):
        module.load_state_dict({name: torch.from_numpy(array) for name, array in layer.state_dict().items()})
        module.train(layer.training)
    return module


def _module(layer: Any) -> nn.Module:
    match layer:
        case LossAtTarget():
            return _Loss(layer)
        case backprop.Sequential():
            return nn.Sequential(OrderedDict((name, twin(child)) for name, child in layer.children().items()))
        case backprop.Residual():
            return Residual(twin(layer.body), None if layer.shortcut is None else twin(layer.shortcut))
        case backprop.Dropout():
            return Dropout(layer.p)
        case backprop.Linear():
            return nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        case backprop.Conv2d():
            channels = layer.in_channels, layer.out_channels
            return nn.Conv2d(*channels, layer.kernel_size, layer.stride, layer.padding, bias=layer.bias is not None)
        case backprop.AvgPool2d():
            return nn.AvgPool2d(
                layer.kernel_size, layer.stride, layer.padding, count_include_pad=layer.count_include_pad
            )
        case backprop.MaxPool2d():
            return nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)
        case backprop.AdaptiveMaxPool2d():
            return nn.AdaptiveMaxPool2d(layer.output_size)
        case backprop.AdaptiveAvgPool2d():
            return nn.AdaptiveAvgPool2d(layer.output_size)
        case backprop.BatchNorm1d():
            return nn.BatchNorm1d(layer.num_features, layer.eps, layer.momentum)
        case backprop.BatchNorm2d():
            return nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum)
    module: nn.Module = getattr(nn, type(layer).__name__)()
    return module


class Twin:
    """The torch twin of a layer, taken from its state as it is now: run it later, on the same input."""

    def __init__(self, layer: Any, module: nn.Module | None = None) -> None:
        self._layer = layer
        self._module = twin(layer) if module is None else module

    def run(self, x: Array, delta: Array) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """The output, the gradients (`input` and the parameters by name), and the buffers after the forward.

        There are no gradients where `delta` is not of the output's shape: it came from another forward.
        """
        tensor = torch.from_numpy(np.array(x, np.float64)).requires_grad_()
        seed_dropout(self._layer)
        for module in self._module.modules():
            if isinstance(module, Dropout):
                module.rng = dropout_generator()
        output = self._module(tensor)
        if tuple(output.shape) == delta.shape:
            output.backward(torch.from_numpy(np.array(delta)))
        gradients = {"input": tensor.grad} | {name: one.grad for name, one in self._module.named_parameters()}
        known = {name: one.numpy() for name, one in gradients.items() if one is not None}
        buffers = {name: buffer.numpy() for name, buffer in self._module.named_buffers()}
        return output.detach().numpy(), known, buffers
