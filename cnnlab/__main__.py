"""The program: `cnnlab`, and `python -m cnnlab`."""

import contextlib
import os
import signal
import sys
from typing import NoReturn


def run() -> NoReturn:
    """`cnnlab.cli.main.main`, and the end of the process.

    One of several processes ends without Python's own clearing up: gloo's threads may still hold a tensor then, and
    letting go of it in an interpreter that is half gone aborts the process (pytorch/pytorch#190489).
    """
    try:
        from cnnlab.cli.main import main
        from cnnlab.training.torchrun import several

        code = main()
    except KeyboardInterrupt:  # while that was imported; later ones are taken there
        sys.exit(128 + signal.SIGINT)
    if several():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
