"""Mutated run folders: their checkpoints, manifests, recipe, environment and metrics."""

import contextlib
import hashlib
import io
import json
import random
import shutil
from pathlib import Path

from mutation import mutate_bytes, mutate_json

from cnnlab.cli.main import main
from cnnlab.data import load
from cnnlab.evaluation.opened import open_run
from cnnlab.imaging.parsing import parse_kernel
from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training import checkpoint, loop
from cnnlab.training.run import Run
from cnnlab.training.settings import Settings

JSON_FILES = ("environment.json", "result.json", "checkpoints/best.json", "checkpoints/last.json")
FILES = (*JSON_FILES, "metrics.jsonl", "recipe.yaml", "checkpoints/best.safetensors", "checkpoints/last.safetensors")


class Checkpoints:
    """A run folder with one or two of its files changed, opened by `evaluate`, `filter` or `--resume`, or listed.

    In two of three cases the manifest's hashes are made to fit the change, so that what lies behind them is met.
    """

    def __init__(self, folder: Path) -> None:
        self.whole, self.run = folder / "whole", folder / "runs" / "x"
        self.data = load("digits")
        flags = {"--data": "digits", "--epochs": 2, "--batch-size": 128, "--threads": 1}
        layers = "lenet:activation=relu"
        recipe = resolve(arch=parse_spec(layers), flags=flags)
        settings = Settings(out=folder, name="whole", device="cpu")
        loop.train(recipe, settings, data=self.data)
        # Opening is what is looked at: a run that was opened to go on does not train.
        Run.to_the_end = lambda run: run  # type: ignore[method-assign,assignment,return-value]

    def __call__(self, rng: random.Random) -> str:
        """Change a copy of the run, and open it one way."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.whole, self.run)
        fit = rng.random() < 0.67
        changed = rng.sample(FILES, rng.choice((1, 1, 1, 2)))
        for name in changed:
            self._change(self.run / name, rng)
        if fit:
            for name in ("best", "last"):
                self._sign(name)
        match rng.randrange(4):
            case 0 | 1:
                open_run(self.run, device="cpu").engine.predict(self.data.test.images[:2])
                return "evaluated"
            case 2:
                shown = (["evaluate"], ["train", "--resume", "x"])
                if rng.random() < 0.5 and (self.run / "result.json").is_file():
                    return _typed(*rng.choice(shown), "--out", str(self.run.parent))
                tensors = checkpoint.load(self.run / "checkpoints", "best").tensors
                parse_kernel(f"x:conv1[{rng.choice((0, 3, 7))}]", lambda run: tensors)
                return "kernel"
            case _:
                (self.run / "result.json").unlink(missing_ok=True)
                loop.resume(self.run, Settings(out=self.run.parent, device="cpu"), data=self.data)
                return "resumed"

    def _change(self, file: Path, rng: random.Random) -> None:
        data = file.read_bytes()
        if file.suffix == ".json" and rng.random() < 0.7:
            document = json.loads(data)
            for _ in range(rng.randint(1, 2)):
                document = mutate_json(document, rng)
            data = json.dumps(document, indent=2).encode()
        elif file.suffix == ".safetensors" and rng.random() < 0.6:
            length = int.from_bytes(data[:8], "little")
            header = mutate_json(json.loads(data[8 : 8 + length]), rng)
            if rng.random() < 0.3:
                header = {**header, "huge": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}
            text = json.dumps(header).encode()
            data = len(text).to_bytes(8, "little") + text + data[8 + length :]
        else:
            data = mutate_bytes(data, rng)
        file.write_bytes(data)

    def _sign(self, name: str) -> None:
        """Make the manifest's hashes those of what lies there, as a stranger would who wants to be believed."""
        manifest, tensors = (self.run / "checkpoints" / f"{name}{kind}" for kind in (".json", ".safetensors"))
        try:
            document = json.loads(manifest.read_bytes())
            document.pop("manifest_sha256", None)
            content = tensors.read_bytes()
            document.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
            body = json.dumps(document, indent=2, allow_nan=False).encode() + b"\n"
            signed = {**document, "manifest_sha256": hashlib.sha256(body).hexdigest()}
            manifest.write_bytes(json.dumps(signed, indent=2, allow_nan=False).encode() + b"\n")
        except (ValueError, AttributeError, TypeError):
            return


def _typed(*arguments: str) -> str:
    """A command as it is typed, all that it shows included; 1 would be a bug in cnnlab."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(list(arguments))
    assert code in (0, 2, 3), said.getvalue()[-1500:]
    return "shown" if code == 0 else "error shown"
