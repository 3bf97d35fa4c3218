"""One peer in a process of its own: `worker.py PEER DATA.npz THREADS`, then an epoch for every line on stdin.

Answers `ready` and then each epoch's images/s, a line each, on the stdout that the driver reads; what the frameworks
print goes to stderr.
"""

import importlib
import os
import sys

import numpy as np


def main() -> None:
    """Load the data, start the peer, train an epoch whenever asked."""
    name, data, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity") and "RANK" not in os.environ:  # for frameworks that count the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    with np.load(data) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    module, _, variant = name.partition(":")
    epochs = importlib.import_module(f"peers.{module}").epochs(images, labels, int(threads), variant)
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        print(next(epochs), file=answers, flush=True)


if __name__ == "__main__":
    main()
