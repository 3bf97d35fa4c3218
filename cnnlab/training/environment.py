"""What a run was made with, for the record."""

import importlib.metadata
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from cnnlab import __version__
from cnnlab.training.prepare import Prepared

_PACKAGES = ("torch", "numpy", "torchvision", "pillow", "safetensors", "scipy", "scikit-learn")


def describe(prepared: Prepared, init_from: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Versions, device, threads, precision, data fingerprint, git commit, command line: what a repetition needs.

    `init_from` is recorded as it is: the run whose weights the training starts from.
    """
    data = prepared.data
    return {
        "cnnlab": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "engine": prepared.engine.name,
        "device": prepared.engine.device,
        "device_name": _device_name(prepared.engine.device),
        "precision": prepared.engine.precision,
        "threads": prepared.threads,
        "processes": prepared.world.size,
        "data": {
            "name": data.name,
            "requested": data.requested,
            "fallback": data.fallback,
            "real_command": prepared.real_command,
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "image_shape": list(data.image_shape),
            "images": {"train": len(prepared.train), "val": len(prepared.val or ()), "test": len(data.test)},
            "notices": list(data.notices),
            "skipped": [{"image": name, "problem": problem} for name, problem in data.skipped],
        },
        "git_commit": _git_commit(),
        "command": list(prepared.settings.command),
        "gradients": prepared.settings.gradients,
        "test": prepared.settings.test,
        "init_from": init_from,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def made_with(prepared: Prepared) -> dict[str, Any]:
    """What numbers depend on beside recipe and data: where all of it is the same, a run repeats bit for bit."""
    return {
        "cnnlab": __version__,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "processor": _processor(),
        "engine": prepared.engine.name,
        "device": prepared.engine.device,
        "device_name": _device_name(prepared.engine.device),
        "precision": prepared.engine.precision,
        "threads": prepared.threads,
        "processes": prepared.world.size,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123  # not a real file
                for line in file:
                    if line.startswith("model name"):
                        return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()


def _device_name(device: str) -> str | None:
    """Which GPU, where one is used."""
    if device != "cuda":
        return None
    import torch

    return torch.cuda.get_device_name()


def _git_commit() -> str | None:
    """The commit of the current folder's checkout, where it is one."""
    try:
        ended = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.strip() or None if ended.returncode == 0 else None
