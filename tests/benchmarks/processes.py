"""Several processes of one thread beside one process of as many threads: the same net, the same global batches."""

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import Mark, Row, Table, interleave, times_as_fast
from training import Worker
from workload import BATCH, images_and_labels


class Group:
    """Processes that train together, as torchrun starts them."""

    def __init__(self, count: int, data: Path) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = str(server.getsockname()[1])
        shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
        self.workers = [
            Worker("cnnlab", data, 1, **shared, MASTER_PORT=port, RANK=str(rank), LOCAL_RANK=str(rank))
            for rank in range(count)
        ]

    def epoch(self) -> float:
        """Train one epoch: images/s of all together."""
        for worker in self.workers:
            worker.begin()
        rate, *_ = [worker.end() for worker in self.workers]
        return rate

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.close()


def tables(*, images: int, rounds: int, threads: int) -> Iterator[Table]:
    """Measure `threads` processes of one thread against one process of `threads` threads."""
    one, several = f"1 process of {threads} threads", f"{threads} processes of 1 thread"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        data = Path(folder) / "data.npz"
        pixels, labels = images_and_labels(images)
        np.savez(data, images=pixels, labels=labels)
        alone, group = Worker("cnnlab", data, threads), Group(threads, data)
        stack.callback(alone.close)
        stack.callback(group.close)
        rates = interleave({one: alone.epoch, several: group.epoch}, rounds)
    rows = [
        Row(one, rates[one]),
        Row(several, rates[several], times_as_fast(rates[several], rates[one], rates=True), Mark(least=0.9)),
    ]
    title = (
        f"Processes: cnn, whole epochs without validation, {images:,} images, batch {BATCH}, {rounds} rounds in turns"
    )
    yield Table(title, "images/s", "× one process", rows)
