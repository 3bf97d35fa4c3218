"""The hand-derived engine in NumPy: each backward stands beside its formula. Names and arguments are torch.nn's.

| room | what it does |
|---|---|
| `layer` | what all layers share: forward, backward, parameters, checks |
| `linear`, `conv`, `pooling` | Linear; Conv2d; max and mean pooling, adaptive too |
| `activations`, `normalization` | ReLU and its family; BatchNorm1d, BatchNorm2d |
| `dropout`, `flatten` | Dropout; Flatten |
| `containers` | Sequential, Residual |
| `loss` | HalfSquaredError, CrossEntropyLoss |
| `optim` | SGD, Adam, AdamW, Muon, clip_grad_norm |
| `mirror` | a torch net as one of these, with the same weights |
| `parallel` | all cores for a batch |
"""

from cnnlab.backprop.activations import GELU, Identity, ReLU, Sigmoid, SiLU, Tanh
from cnnlab.backprop.containers import Residual, Sequential
from cnnlab.backprop.conv import Conv2d
from cnnlab.backprop.dropout import Dropout
from cnnlab.backprop.flatten import Flatten
from cnnlab.backprop.layer import Array, DtypeError, Layer, Parameter, ShapeError
from cnnlab.backprop.linear import Linear
from cnnlab.backprop.loss import CrossEntropyLoss, HalfSquaredError, Loss
from cnnlab.backprop.normalization import BatchNorm1d, BatchNorm2d
from cnnlab.backprop.optim import SGD, Adam, AdamW, Muon, Optimizer, ParameterGroup, clip_grad_norm
from cnnlab.backprop.parallel import set_threads
from cnnlab.backprop.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "Array",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "DtypeError",
    "Flatten",
    "HalfSquaredError",
    "Identity",
    "Layer",
    "Linear",
    "Loss",
    "MaxPool2d",
    "Muon",
    "Optimizer",
    "Parameter",
    "ParameterGroup",
    "ReLU",
    "Residual",
    "Sequential",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "clip_grad_norm",
    "set_threads",
]
