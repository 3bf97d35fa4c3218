"""Which device, which precision, which layout in memory, how many threads."""

import ctypes
import sys

import torch

from cnnlab.choices import Precision
from cnnlab.errors import MachineError
from cnnlab.machine import usable_cores
from cnnlab.training.world import ALONE, World


def choose_device(wanted: str, world: World = ALONE) -> torch.device:
    """The device for `auto` (CUDA, then Apple's MPS, then the CPU), `cpu`, `cuda` or `mps`.

    Each process of a machine has a CUDA device of its own; MPS is for a process alone.

    Raises:
        MachineError: this machine has no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and world.size == 1,
        "cpu": True,
    }
    if wanted == "auto":
        wanted = next(name for name, there in available.items() if there)
    if not available.get(wanted, False):
        have = ", ".join(name for name, there in available.items() if there)
        raise MachineError(f"this machine has no device {wanted!r}; it has {have}", hint="Leave --device out")
    if wanted == "cuda" and world.size > 1:
        return torch.device("cuda", world.local_rank)
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


FLOATS_OF_A_REGISTER = 16
"""Of AVX-512; AVX2's hold half as many."""


def choose_layout(net: torch.nn.Module, device: torch.device) -> torch.memory_format:
    """How a net's maps lie in memory: channels_last, but for nets of which oneDNN then computes wrong gradients.

    Of a 1×1 convolution with a stride and fewer input channels than a vector register holds numbers, it writes past its
    workspace: ∂J/∂w is wrong, or the process dies (oneDNN issue 6035; seen with torch 2.14.1 under AVX2).
    """
    narrow = (
        layer
        for layer in net.modules()
        if isinstance(layer, torch.nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.in_channels // layer.groups < FLOATS_OF_A_REGISTER
    )
    return torch.contiguous_format if device.type == "cpu" and any(narrow) else torch.channels_last


def count_threads(wanted: int | None, world: World = ALONE) -> int:
    """How many CPU threads `wanted` means: None is all that there are for this process.

    The processes of a machine share its cores out. OMP_NUM_THREADS says nothing: torchrun sets it to 1 unasked.
    """
    return wanted or max(1, usable_cores() // world.local_size)


def set_threads(wanted: int | None, world: World = ALONE) -> int:
    """Use as many CPU threads as `count_threads` says; their number."""
    threads = count_threads(wanted, world)
    torch.set_num_threads(threads)
    return threads


# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD_BYTES = 64 << 20


def keep_memory() -> None:
    """Have this process keep the memory that its tensors leave, for the next ones; nothing where glibc is not there.

    glibc hands each large block back to the system as it is freed, and the system clears each page of the next one
    anew: of a training step on the CPU, up to a quarter of the time. The most that the process holds stays about the
    same.
    Source: mallopt(3).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # large blocks come from the heap,
        mallopt(_M_TRIM_THRESHOLD, -1)  # which never shrinks
        mallopt(_M_TOP_PAD, _TOP_PAD_BYTES)  # and grows in large steps;
        mallopt(_M_ARENA_MAX, 1)  # one heap for all threads
