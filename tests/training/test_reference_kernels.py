"""No shipped recipe trains on oneDNN's reference kernels: they are 10 to 1,000 times slower, and come with versions."""

import os
import re
import subprocess
import sys

import pytest

from cnnlab.recipe.load import shipped

# Two steps, one at each smaller size and an evaluation of each recipe, as train would choose device and precision; what
# oneDNN says is printed.
TRAINING = """
import sys
import numpy as np
from cnnlab.data import DataSet, Part
from cnnlab.recipe.load import from_file, shipped
from cnnlab.training.engines.base import Batch, StepKey
from cnnlab.training.prepare import prepare
from cnnlab.training.schedule import Growth
from cnnlab.training.settings import Settings

for name in sys.argv[1:]:
    recipe = from_file(shipped()[name])
    own_shape = getattr(recipe.model, "input", None)
    for shape in [own_shape] if own_shape else ["3x32x32", "1x28x28", "1x8x8"]:
        channels, height, width = map(int, shape.split("x"))
        images = np.random.default_rng(0).integers(0, 256, (48, height, width, channels), dtype=np.uint8)
        part = Part(images, np.arange(48) % 4)
        data = DataSet("noise", tuple("abcd"), part, None, part, True, "0" * 64)
        train = recipe.train.model_copy(update={"batch_size": 16})
        print("recipe,building", flush=True)
        engine = prepare(recipe.model_copy(update={"train": train}), Settings(device="cpu"), data).engine
        print(f"recipe,{name} {shape} {engine.precision}", flush=True)
        whole = height, width
        for size in (None, None, *Growth.of(train, whole).sizes(whole)):
            engine.step(Batch(part.images[:16], part.labels[:16], size=size), 0.01, StepKey(0, 1, 0))
        engine.predict(part.images)
"""
REFERENCE = re.compile(r"(^|[^a-z])ref([^a-z]|$)")


def verbose_training(*names: str) -> str:
    """What oneDNN says while these recipes train."""
    ended = subprocess.run(
        [sys.executable, "-c", TRAINING, *names],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "ONEDNN_VERBOSE": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def primitives(verbose: str) -> dict[str, list[str]]:
    """By recipe: what oneDNN executed, its kind and its implementation: `convolution brg_conv_fwd:avx512_core`."""
    found: dict[str, list[str]] = {}
    executed: list[str] = []
    for line in verbose.splitlines():
        fields = line.split(",")
        if fields[0] == "recipe":
            executed = found.setdefault(fields[1], [])
        elif fields[:4] == ["onednn_verbose", "v1", "primitive", "exec"]:
            executed.append(" ".join(fields[5:7]))
    return found


def by_reference(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """By recipe, where there are any: the primitives that ran on a reference kernel."""
    slow = {name: sorted({one for one in executed if REFERENCE.search(one)}) for name, executed in found.items()}
    return {name: kernels for name, kernels in slow.items() if kernels}


@pytest.mark.slow
def test_no_shipped_recipe_runs_on_reference_kernels():
    found = primitives(verbose_training(*shipped()))
    del found["building"]  # one picture or two through the new net, whatever the precision
    assert {name.split()[0] for name in found} == set(shipped())
    with_convolutions = [executed for name, executed in found.items() if name.startswith(("cnn", "resnet", "lenet"))]
    if not any(with_convolutions):
        pytest.skip("this torch has no oneDNN, or does not use it here")
    assert all(any(one.startswith("convolution ") for one in executed) for executed in with_convolutions)
    assert not by_reference(found)


def test_reference_kernels_are_seen():
    start = "onednn_verbose,v1,primitive,exec,cpu"
    verbose = f"""recipe,good
{start},reorder,jit:uni,undef,src:f32::blocked:abcd::f0 dst:f32:p:blocked:AcdB16a::f0,,,8x8x3x3,0.01
{start},convolution,brgconv_bwd_w:avx512_core_bf16,backward_weights,src:bf16::blocked:acdb::f0,,alg:direct,mb1,0.1
{start},convolution,x64:gemm:jit,backward_data,src:bf16::blocked:acdb::f0,,alg:direct,mb1,0.1
recipe,bad
onednn_verbose,v1,info,cpu,runtime:OpenMP,nthr:2
{start},convolution,ref:any,backward_weights,src:bf16::blocked:acdb::f0,,alg:direct,mb1,9
{start},inner_product,gemm:ref,forward_training,src:f32::blocked:ab::f0,,,mb1,9
{start},matmul,jit_prefetch:avx2,undef,src:f32::blocked:ab::f0,,,1x1,0.1
"""
    assert by_reference(primitives(verbose)) == {"bad": ["convolution ref:any", "inner_product gemm:ref"]}
