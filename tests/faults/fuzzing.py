"""Runs mutated inputs through cnnlab, in a process of its own: `python fuzzing.py KIND COUNT SEED FOLDER`.

Prints one JSON document: the cases, how they ended, the slowest, the peak of memory, and every case that ended in
anything but a value or one of cnnlab's own errors. A case is a function of (KIND, SEED, number), so that one that
failed is run again alone: `python fuzzing.py KIND COUNT SEED FOLDER NUMBER`.
"""

import faulthandler
import importlib
import json
import random
import sys
import time
import traceback
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

from cnnlab.errors import CnnlabError

HANG_SECONDS = 120
"""Wall clock after which a case is killed with its traceback shown; 5 s of processor time are too many already."""
LONGEST_MESSAGE = 20_000

KINDS = {
    "recipes": "fuzz_text:Recipes",
    "specs": "fuzz_text:Specs",
    "kernels": "fuzz_text:Kernels",
    "checkpoints": "fuzz_runs:Checkpoints",
    "pictures": "fuzz_data:Pictures",
    "archives": "fuzz_data:Archives",
    "batches": "fuzz_data:Batches",
}
"""Each is made with a folder, and called with a generator of chance for every case."""


def ending(case, rng: random.Random) -> str:
    """How one case ended: `ok`, the kind of cnnlab's error, or what was wrong with it."""
    try:
        return case(rng) or "ok"
    except CnnlabError as error:
        message = f"{error.message}\n{error.hint or ''}"
        if error.exit_code not in (2, 3, 4, 5):
            return f"WRONG: exit code {error.exit_code}: {message}"
        if not error.message.strip() or len(message) > LONGEST_MESSAGE:
            return f"WRONG: a message of {len(message)} characters: {message[:200]!r}"
        unsafe = [char for char in message if unicodedata.category(char) in ("Cc", "Cf", "Cs") and char != "\n"]
        if unsafe:
            return f"WRONG: {unsafe[0]!r} in the message {message[:200]!r}"
        return error.kind
    except (Exception, SystemExit):  # noqa: BLE001  # whatever else comes is what is looked for
        return "WRONG: " + traceback.format_exc()[-1500:]


def main(kind: str, count: str, seed: str, folder: str, only: str | None = None) -> None:
    """Run the cases and print what came of them."""
    # As for a person: what Pillow and torch merely warn of is no error.
    warnings.simplefilter("ignore")
    module, name = KINDS[kind].split(":")
    case = getattr(importlib.import_module(module), name)(Path(folder))
    ends: Counter[str] = Counter()
    wrong, slowest, started = [], (0.0, 0), time.perf_counter()
    for number in range(int(count)) if only is None else [int(only)]:
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        before = time.process_time()
        end = ending(case, random.Random(f"{kind} {seed} {number}"))
        slowest = max(slowest, (time.process_time() - before, number))
        ends[end.partition(":")[0]] += 1
        if end.startswith("WRONG"):
            wrong.append({"number": number, "what": end})
    faulthandler.cancel_dump_traceback_later()
    document = {
        "kind": kind,
        "cases": ends.total(),
        "ends": dict(ends),
        "slowest_seconds": round(slowest[0], 2),
        "slowest": slowest[1],
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(time.process_time(), 1),
        "peak_bytes": _peak_bytes(),
        "wrong": wrong,
    }
    print(json.dumps(document))  # noqa: T201  # the one line that the test reads


def _peak_bytes() -> int:
    """The most memory that this process has had. Linux's ru_maxrss takes over that of the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
