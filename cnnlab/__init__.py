"""A lab bench for convolutional networks: train, compare, evaluate, check gradients, try kernels."""

__version__ = "0.1.0"
