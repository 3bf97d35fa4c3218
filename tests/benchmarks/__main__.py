"""cnnlab measured against its peers, in turns, in one run: `python tests/benchmarks [PART ...]`.

Prints a table for each part with ratios (the median of the rounds, the smallest and the largest) and what they should
be; ends with code 1 if a mark is missed. The peers come with `pip install -e ".[bench]"`; those that are missing are
named. Run it on a machine that does nothing else.
"""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from measure import Table

PARTS = ("training", "processes", "startup", "engine", "products", "filter", "cost")
LONG_PARTS = ("accuracy",)
VERSIONS = ("cnnlab", "torch", "lightning", "keras", "jax", "tensorflow", "tensorflow-cpu", "timm", "scipy", "pillow",
            "opencv-python-headless")  # fmt: skip


def main() -> int:
    """Measure the parts named on the command line, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default), accuracy")
    parser.add_argument("--images", type=int, default=5120, help="training: images an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--against", nargs="+", default=[], metavar="PEER", help="training: these peers only")
    parser.add_argument("--data", default="cifar10", help="accuracy: the data set")
    parser.add_argument("--seeds", type=int, default=3, help="accuracy: runs of cnnlab's recipes")
    parser.add_argument("--plain-seeds", type=int, default=1, help="accuracy: runs of the plain loop")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="accuracy: where to train")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - {*PARTS, *LONG_PARTS}:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join((*PARTS, *LONG_PARTS))}")
    print(_machine())
    met = True
    for part in arguments.parts or PARTS:
        for table in _tables(part, arguments):
            print(f"\n{table}", flush=True)
            met = met and table.met
    return 0 if met else 1


def _tables(part: str, arguments: argparse.Namespace) -> Iterator[Table]:
    """The tables of one part; its peers are imported only now."""
    rounds, threads = arguments.rounds, arguments.threads
    if part == "training":
        import training

        yield from training.tables(images=arguments.images, rounds=rounds, threads=threads, against=arguments.against)
    elif part == "processes":
        import processes

        yield from processes.tables(images=arguments.images, rounds=rounds, threads=threads)
    elif part == "startup":
        import startup

        yield from startup.tables(rounds=rounds)
    elif part == "engine":
        import engine

        yield from engine.tables(rounds=rounds, threads=threads)
    elif part == "products":
        import products

        yield from products.tables(rounds=rounds, threads=threads)
    elif part == "filter":
        import filter

        yield from filter.tables(rounds=rounds, threads=threads)
    elif part == "accuracy":
        import accuracy

        yield from accuracy.tables(
            data=arguments.data, seeds=arguments.seeds, plain_seeds=arguments.plain_seeds, device=arguments.device
        )
    else:
        import cost

        yield from cost.tables(threads=threads)


def _machine() -> str:
    """Date, processor, versions, and the environment's wishes to the libraries that compute, for the record."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    found = []
    for name in VERSIONS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    found += [f"{name}={value}" for name, value in os.environ.items() if name.startswith(("OPENBLAS_", "MKL_", "OMP_"))]
    return (
        f"{datetime.date.today()}, {model or platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {', '.join(found)}"
    )


if __name__ == "__main__":
    sys.exit(main())
