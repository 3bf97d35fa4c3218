"""Mutated recipes, specs and kernels."""

import json
import random
from pathlib import Path

import numpy as np
import yaml
from mutation import mutate_bytes, mutate_json, mutate_words

from cnnlab.errors import UsageError
from cnnlab.imaging.applying import FilterOptions, apply_kernel
from cnnlab.imaging.kernels import KERNELS
from cnnlab.imaging.parsing import parse_kernel
from cnnlab.imaging.pictures import Picture
from cnnlab.models import ARCHITECTURES
from cnnlab.recipe import load
from cnnlab.recipe.spec import parse_spec

RESIDUAL = b"""
data: {name: null, val_fraction: 0.1, augment: {crop: auto, flip: auto, mixup: 0.2}}
model:
  arch: seq
  activation: gelu
  layers:
    - conv: 8
    - batch-norm
    - activation
    - residual: [{conv: 8, kernel: 1, name: here}, relu, {conv: 16, stride: 2}]
    - {max-pool: 2, stride: 1, padding: 1}
    - global-mean-pool
    - flatten
    - dropout: 0.2
    - linear: classes
train: {epochs: 3, loss: mse, clip_norm: 1.0, patience: 2}
optim: {name: sgd, lr: 1e-2, schedule: cosine, warmup: 1}
seed: 7
"""
WORDS = (
    "{", "}", "[", "]", ",", ":", "-", "?", "|", ">", "&", "*", "!", "%", "@", "`", "'", '"', "#", "---", "...", "\t",
    "\n", "&a", "*a", "*b", "!!python/object:os.system",
    "!!int", "<<:", "{a: &a [*a]}", "[" * 50, "{a: " * 30, "null", "true", "1e-3", "0x1F", "1_000", "9" * 20,
    "-1", ".inf", ".nan", "1e999", "2026-03-01", "x.py:Net", "torchvision:vgg11", "\x00", "\x1b[31m", "\u202e", "猫",
    "\ud800", "\ufeff", " " * 300, "model:", "train:", "layers:", "width: 65536", "depth: 1000", "kernel: 65536",
)  # fmt: skip


class Recipes:
    """A shipped recipe, its bytes, words or structure changed, resolved; of some the net is counted."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "x.yaml"
        self.texts = [path.read_bytes() for path in load.shipped().values()] + [RESIDUAL] * 3

    def __call__(self, rng: random.Random) -> str:
        """Resolve one."""
        data = rng.choice(self.texts)
        match rng.randrange(3):
            case 0:
                data = mutate_bytes(data, rng, 3)
            case 1:
                text = mutate_words(data.decode(), rng, WORDS, " \n:,[]{}")
                data = text.encode("utf-8", "surrogatepass")
            case 2:
                document = yaml.safe_load(data)
                for _ in range(rng.randint(1, 3)):
                    document = mutate_json(document, rng)
                dumped = rng.choice((json.dumps, lambda value: yaml.dump(value, allow_unicode=True)))(document)
                data = dumped.encode("utf-8", "surrogatepass")
        self.file.write_bytes(data)
        recipe = load.resolve(recipe=str(self.file))
        load.dump(recipe)
        load.digest(recipe)
        if rng.randrange(4):
            return "resolved"
        from cnnlab.training.outline import _count

        _count(recipe, (3, 16, 16), 10)
        return "counted"


class Specs:
    """A spec of an architecture, put together from pieces and changed, resolved to a recipe."""

    def __init__(self, folder: Path) -> None:
        self.names = [
            *ARCHITECTURES,
            *load.shipped(),
            "torchvision:resnet18",
            "x.py:Net",
            "C:\\nets\\x.py:Net",
            "x.yaml",
        ]
        self.keys = ["width", "depth", "norm", "pool", "dropout", "activation", "init", "stem", "layers", "optim.lr",
                     "train.epochs", "data.augment.crop", "seed", "a.b.c.d", "model.arch", "train", ""]  # fmt: skip
        self.values = ["1", "64", "relu", "none", "true", "1e-3", "-1", "1e999", "nan", "9" * 40, "", "猫", "\x1b[31m",
                       "65536", "[1]", "a=b", "\ud800", "max", "20", "x" * 5000]  # fmt: skip

    def __call__(self, rng: random.Random) -> str:
        """Resolve one, by `--arch`, and its keys by `--set`."""
        options = [f"{rng.choice(self.keys)}={rng.choice(self.values)}" for _ in range(rng.randrange(4))]
        text = (
            rng.choice(("", "", "label=", "=")) + rng.choice(self.names) + (":" if options else "") + ",".join(options)
        )
        if rng.random() < 0.5:
            text = mutate_words(text, rng, [*self.keys, *self.values, ":", ",", "=", "::", "=="], ":,=.")
        if rng.random() < 0.2:
            text = mutate_bytes(text.encode("utf-8", "surrogatepass"), rng, 2).decode("utf-8", "surrogateescape")
        settings = [rng.choice(options)] if options and rng.random() < 0.3 else []
        load.dump(load.resolve(arch=parse_spec(text), settings=settings))
        return "resolved"


class Kernels:
    """A kernel, named, inline or in a file, changed, and applied to a small picture."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "k.yaml"
        pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        self.picture = Picture(pixels)
        self.texts = [*KERNELS, "gaussian:size=15,sigma=3", "blur:normalize=false,size=5", "max-pool:size=2,stride=1",
                      "-1 0 1; -2 0 2; -1 0 1", "1/9 1/9 1/9; 1/9 1/9 1/9; 1/9 1/9 1/9", "[1,2;3,4]", "1 2 1",
                      "last:conv1[3]", "x=sobel-x", "0.5"]  # fmt: skip
        self.words = ["1", "-1", "1e9", "1e999", "nan", "inf", "1/0", "0/0", "1e-400", "--1", ";", ",", "[", "]", " ",
                      "=", ":", "size=500", "size=0", "sigma=1e-9", "sigma=true", "amount=1e3", "stride=7", "猫",
                      "\x1b[2J", "9" * 30, "1 " * 600, "1;" * 600, "k.yaml", "/dev/zero.yaml", "\x00"]  # fmt: skip
        self.documents = [
            {"name": "mine", "matrix": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "scale": 0.5, "offset": 10},
            {"matrix": "1 2 1; 2 4 2; 1 2 1", "scale": "1/16"},
        ]

    def __call__(self, rng: random.Random) -> str:
        """Parse one, and apply it."""
        text = rng.choice(self.texts)
        if rng.random() < 0.3:
            document = mutate_json(json.loads(json.dumps(rng.choice(self.documents))), rng)
            content = yaml.dump(document, allow_unicode=True).encode("utf-8", "surrogatepass")
            self.file.write_bytes(mutate_bytes(content, rng, 2) if rng.random() < 0.5 else content)
            text = str(self.file)
        elif rng.random() < 0.95:
            text = mutate_words(text, rng, self.words, " ;:,=[]/")
        kernel = parse_kernel(text, _no_run)
        pad = rng.choice(("reflect", "zero", "edge", "wrap", "none", None))
        options = FilterOptions(
            pad,
            rng.choice((None, 1, 3)),
            rng.choice(("each", "gray", "sum")),
            rng.choice((None, "clip", "abs", "signed", "scale")),
            rng.random() < 0.5,
            1,
        )
        result = apply_kernel(self.picture, kernel, options)
        assert result.picture.pixels.dtype == np.uint8
        return "applied"


def _no_run(run: str) -> dict[str, np.ndarray]:
    raise UsageError(f"no run {run[:20]!a}")
