"""What may be chosen from, by name: the same words on the command line, in a recipe and in Python."""

from collections.abc import Sequence
from typing import Literal

from cnnlab.errors import UsageError
from cnnlab.text import did_you_mean, printable

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
"""Where a net is computed; auto: the first there is of cuda, mps and cpu."""
EngineName = Literal["torch", "numpy"]
"""What computes it: PyTorch, or the hand-derived gradients."""
Precision = Literal["auto", "fp32", "bf16", "fp64"]
"""The floating-point type of forward and backward passes; auto: bf16 where the device computes it in hardware."""
SplitName = Literal["test", "val", "train"]
"""A part of a data set."""
Match = Literal["params", "macs"]
"""What a comparison makes equal."""
Band = Literal["min-max", "sd", "ci"]
"""What a figure's band over seeds shows: the extremes, one standard deviation, the mean's 95 % confidence interval."""
XAxis = Literal["epoch", "seconds"]
"""A figure's horizontal axis."""


def require_choice(what: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices.

    Raises:
        UsageError: with the choices, and the nearest.
    """
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise UsageError(f"{what}: expected {', '.join(choices)}; received {printable(value)!r}", hint=hint)
