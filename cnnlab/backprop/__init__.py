"""The hand-derived engine in NumPy: each backward stands beside its formula. Names and arguments are torch.nn's.

linear.py Linear · conv.py Conv2d · pooling.py MaxPool2d, AvgPool2d, AdaptiveMaxPool2d, AdaptiveAvgPool2d ·
activations.py ReLU and its family · normalization.py BatchNorm1d, BatchNorm2d · dropout.py Dropout · flatten.py
Flatten · containers.py Sequential, Residual · loss.py HalfSquaredError, CrossEntropyLoss · optim.py SGD, Adam, AdamW,
Muon, clip_grad_norm · layer.py what all layers share · mirror.py a torch net as one of these · parallel.py all cores
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
