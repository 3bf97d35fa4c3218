"""Training throughput beside other loops: one process a peer, epochs in turns, whole loops without validation."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from measure import Mark, Row, Table, interleave, times_as_fast
from workload import ARCHIVE, BATCH, images_and_labels

HERE = Path(__file__).parent
OWN = "cnnlab train"
PEERS = {
    "tutorial": ("PyTorch tutorial (2 workers, PIL, fp32)", "tutorial", "torchvision", Mark(least=2.3)),
    "by-hand": ("by hand (in memory, bf16)", "by_hand", "torch", Mark(least=0.97)),
    "lightning": ("Lightning fp32", "lightning:fp32", "lightning", Mark()),
    "lightning-bf16": ("Lightning bf16-mixed", "lightning:bf16", "lightning", Mark(least=1.15)),
    "lightning-tuned": ("Lightning bf16-mixed, in memory", "lightning:bf16-tuned", "lightning", Mark()),
    "keras-jax": ("Keras on JAX, fp32", "keras:jax", "jax", Mark(least=1.5)),
    "keras-tensorflow": ("Keras on TensorFlow, fp32", "keras:tensorflow", "tensorflow", Mark(least=1.5)),
    "timm": ("timm (bf16, channels_last)", "timm", "timm", Mark()),
}
"""Name on the command line: name in the table, module and variant of `peers/`, what must be installed, the mark."""


class Worker:
    """A peer in a process of its own, which trains an epoch when asked and is idle otherwise."""

    def __init__(self, peer: str, data: Path, threads: int, **more: str) -> None:
        self.peer = peer
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        environment = {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", peer, data, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **environment, **more},
        )
        self._answer()

    def epoch(self) -> float:
        """Train one epoch: its images/s."""
        self.begin()
        return self.end()

    def begin(self) -> None:
        """Have an epoch trained."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> float:
        """Wait for the epoch's end: its images/s."""
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            said = self.log.read().decode(errors="replace").splitlines()[-15:]
            raise RuntimeError(f"{self.peer} ended with code {self.process.returncode}:\n" + "\n".join(said))
        return line


def tables(*, images: int, rounds: int, threads: int, against: Sequence[str]) -> Iterator[Table]:
    """Measure cnnlab and the peers named in `against` (all of them if it is empty)."""
    chosen = {name: PEERS[name] for name in against or PEERS}
    notes = [f"{PEERS[name][0]}: {PEERS[name][2]} is not installed" for name in chosen if not find_spec(PEERS[name][2])]
    present = [peer for peer in chosen.values() if find_spec(peer[2])]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        data = Path(folder) / "data.npz"
        pixels, labels = images_and_labels(images)
        np.savez(data, images=pixels, labels=labels)
        workers = {}
        for name, module in [(OWN, "cnnlab"), *((peer[0], peer[1]) for peer in present)]:
            workers[name] = Worker(module, data, threads)
            stack.callback(workers[name].close)
        rates = interleave({name: worker.epoch for name, worker in workers.items()}, rounds)
    rows = [Row(OWN, rates[OWN])]
    rows += [Row(peer[0], rates[peer[0]], times_as_fast(rates[OWN], rates[peer[0]], rates=True), peer[3])
             for peer in present]  # fmt: skip
    kind = "CIFAR-10" if ARCHIVE.is_file() else "noise in the shape of CIFAR-10"
    title = (
        f"Training: whole epochs without validation, {images:,} images of {kind}, batch {BATCH}, {threads} threads, "
        f"{rounds} rounds in turns"
    )
    yield Table(title, "images/s", "cnnlab is ×", rows, notes)
