"""Which device, which precision, how many threads."""

import os

import torch

from cnnlab.errors import MachineError
from cnnlab.recipe.schema import Precision


def choose_device(wanted: str) -> torch.device:
    """The device for `auto` (CUDA, then Apple's MPS, then the CPU), `cpu`, `cuda` or `mps`.

    Raises:
        MachineError: this machine has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available.get(wanted, False):
        have = ", ".join(name for name, there in available.items() if there)
        raise MachineError(f"this machine has no device {wanted!r}; it has {have}", hint="Leave --device out")
    return torch.device(wanted)


def choose_precision(wanted: Precision, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp64`; auto is bf16 where the device computes it in hardware.

    Raises:
        MachineError: fp64 on a device that has none.
    """
    if wanted == "fp64" and device.type == "mps":
        raise MachineError("the device mps does not compute in fp64", hint="Add --device cpu")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu" and _cpu_has_bf16():
        return "bf16"
    return "fp32"


def _cpu_has_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check)() for check in checks if hasattr(torch.cpu, check))


def set_threads(wanted: int | None) -> int:
    """Use `wanted` CPU threads (all that this process may use by default); the number used."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = wanted or usable
    torch.set_num_threads(threads)
    return threads
