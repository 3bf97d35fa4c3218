"""Who is who among the processes that torchrun started, by what it says in the environment: no torch is asked."""

import os
from pathlib import Path

from cnnlab.errors import UsageError
from cnnlab.text import command_path


def rank() -> int:
    """This process's number among those that torchrun started; 0 without it."""
    return environment_number("RANK", 0) if several() else 0


def several() -> bool:
    """Whether this process is one of several."""
    return environment_number("WORLD_SIZE", 1) > 1


def resume_command(run: Path) -> str:
    """What is typed to go on with a run, by as many processes as this one is of."""
    program = "cnnlab"
    if several():
        count = environment_number("LOCAL_WORLD_SIZE", environment_number("WORLD_SIZE", 1))
        program = f"torchrun --nproc-per-node {count} -m cnnlab"
    return f"{program} train --resume {command_path(run)}"


def require_one_process(what: str) -> None:
    """Refuse under torchrun what is done by one process.

    Raises:
        UsageError: torchrun started several.
    """
    if several():
        raise UsageError(
            f"{what} is done by one process; torchrun started several",
            hint="Start it without torchrun. Several processes share a training: torchrun ... -m cnnlab train",
        )


def environment_number(name: str, default: int) -> int:
    """What torchrun put under a name, such as WORLD_SIZE; the default where it put no number there."""
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default
