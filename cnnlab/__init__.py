"""A lab bench for convolutional networks: train, compare, evaluate, check gradients, try kernels.

The Python door, with the commands' meaning: `cnnlab.train(arch="cnn", data="digits")`.

| room | what it does |
|---|---|
| `cli` | the command line |
| `recipe`, `data`, `models` | what is trained, on what |
| `training`, `evaluation`, `comparison` | a run; what it is worth; which net is better |
| `backprop`, `gradient_check` | the hand-derived gradients; their proof |
| `imaging` | kernels on pictures |
| `report` | figures |
| `errors`, `choices` | errors with exit codes; what may be chosen from by name |
| `text`, `reading`, `files` | strangers' text made safe; strangers' files read; files written whole |
| `machine` | cores, memory, file locks |
| `numbers` | numbers as tables and reports write them |
| `randomness` | random numbers by seed, purpose, epoch and step |
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["compare", "evaluate", "filter_image", "gradcheck", "train"]

_DOORS = {
    "train": "cnnlab.training.door",
    "compare": "cnnlab.comparison.door",
    "evaluate": "cnnlab.evaluation.door",
    "filter_image": "cnnlab.imaging.applying",
    "gradcheck": "cnnlab.gradient_check",
}


def __getattr__(name: str) -> Any:
    """Open a door when it is asked for: `import cnnlab` alone imports nothing heavy."""
    if name not in _DOORS:
        raise AttributeError(f"module 'cnnlab' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_DOORS[name]), name)
