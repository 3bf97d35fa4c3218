"""Recipe keys laid over one another, each with the place it came from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnlab.errors import RecipeError
from cnnlab.models import registry
from cnnlab.text import as_written

KeyPath = tuple[str | int, ...]


@dataclass
class Layers:
    """Recipe keys laid over one another, later ones winning, each with the place it came from."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[KeyPath, str] = field(default_factory=dict)
    lines: dict[KeyPath, str] = field(default_factory=dict)
    """The places of what lies within a value that is laid as a whole, `model.layers`."""
    user_file: Path | None = None
    """The recipe file that names a Python file, if one does: its code must not run unasked."""

    def lay(self, path: KeyPath, value: Any, source: str) -> None:
        """Set one key, or a whole section key by key."""
        if isinstance(value, dict) and path in ((), ("data",), ("data", "augment"), ("train",), ("optim",), ("model",)):
            for key, item in value.items():
                self.lay((*path, key), item, source)
            return
        if path == ("model", "arch"):
            self._change_architecture(value)
        target = self.values
        for key in path[:-1]:
            target = target.setdefault(str(key), {})
            if not isinstance(target, dict):
                raise RecipeError(f"{source}: {dotted(path[:-1])} is a section, received {as_written(target)}")
        target[str(path[-1])] = value
        self.sources[path] = source
        if path == ("train", "epochs"):
            # Whoever asks for epochs means them: the floor of an earlier layer no longer counts.
            self._drop_older(("train", "min_steps"), source)
        if path == ("train", "loss") and value == "mse":
            # Nor does smoothing, which that loss has none of: a recipe's was meant for its own loss.
            self._drop_older(("train", "label_smoothing"), source)

    def _drop_older(self, path: KeyPath, source: str) -> None:
        """Take back a key of `train` that an earlier layer laid; the places within one file are one layer."""
        if path in self.sources and self.sources[path].split(", line ")[0] != source.split(", line ")[0]:
            self.values["train"].pop(path[1], None)
            del self.sources[path]

    def _change_architecture(self, arch: Any) -> None:
        """Another architecture keeps only those options of the one before that it has itself."""
        model = self.values.get("model", {})
        if model.get("arch") in (None, arch) or not isinstance(arch, str):
            return
        known = set(registry.find(arch).options.model_fields)
        self.values["model"] = {key: value for key, value in model.items() if key in known}

    def is_laid(self, path: KeyPath) -> bool:
        """Whether something was laid at this path or below it."""
        return any(known[: len(path)] == path for known in self.sources)

    def place(self, path: KeyPath) -> str:
        """Where a key came from, for the start of a message; empty where nobody knows."""
        if path in self.sources:
            return f"{self.sources[path]}: "
        for known, source in self.sources.items():
            if path and known[: len(path)] == path:
                return f"{source}: "
        return ""

    def place_within(self, path: KeyPath) -> str:
        """Where a part of `model.layers` came from, or the nearest whole that holds it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.lines[path]}: " if path else self.place(("model", "layers"))


def dotted(path: KeyPath) -> str:
    """The path as it is typed: train.epochs."""
    return ".".join(map(str, path))
