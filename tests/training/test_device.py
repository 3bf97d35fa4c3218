"""The memory that a process keeps."""

import subprocess
import sys

import pytest

PAGE_FAULTS = """
import resource, sys, torch
from cnnlab.training.device import keep_memory

if "keep" in sys.argv:
    keep_memory()

def fill():
    for _ in range(20):
        torch.ones(16 << 20)  # 64 MB, above what glibc keeps of itself

fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_kept_for_the_next_tensors():
    faults = {}
    for mode in ("keep", "release"):
        ran = subprocess.run([sys.executable, "-c", PAGE_FAULTS, mode], capture_output=True, text=True, check=True)
        faults[mode] = int(ran.stdout)
    assert faults["keep"] < 100 < faults["release"]
