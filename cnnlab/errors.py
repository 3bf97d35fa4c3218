"""The errors of cnnlab, each with its exit code (DESIGN: 0 done, 1 bug, 2 usage, 3 data, 4 environment, 5 numbers).

The core raises these and never exits; `cnnlab.cli.main` turns them into one short block on the terminal, or into
one JSON document, and into the exit code. A message says what happened, what was expected and what was received;
the hint says what to do. File names and other text of strangers goes through `cnnlab.text.printable` first.
"""

from typing import ClassVar


class CnnlabError(Exception):
    """An expected failure: `message` (what happened), `hint` (what to do), `kind` and `exit_code` by class."""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "bug"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.told_elsewhere: bool | None = None
        """Where several processes train together: whether another one tells this; None: not known."""


class UsageError(CnnlabError):
    """The command line is wrong: an unknown name, flag or value."""

    exit_code = 2
    kind = "usage"


class RecipeError(UsageError):
    """A recipe is wrong: not YAML, an unknown key, a value out of range."""

    kind = "recipe"


class DataError(CnnlabError):
    """The data are not what they should be: an empty folder, a broken archive, classes that differ."""

    exit_code = 3
    kind = "data"


class PictureError(DataError):
    """A picture cannot be read: no picture, cut short, too large, of a kind that would lose information."""

    kind = "picture"


class CheckpointError(DataError):
    """A checkpoint or run folder is damaged, incomplete or belongs to something else."""

    kind = "checkpoint"


class MachineError(CnnlabError):
    """The environment failed: no network, disk full, no permission, no such device, folder in use."""

    exit_code = 4
    kind = "environment"


class NumericError(CnnlabError):
    """Numbers went wrong: a loss that is not finite, a gradient check or a pre-flight check that failed."""

    exit_code = 5
    kind = "numeric"


class Stopped(CnnlabError):
    """Stopped from outside, with everything saved: 130 after Ctrl-C, 143 after SIGTERM."""

    kind = "stopped"

    def __init__(self, message: str, *, signal_number: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number  # type: ignore[misc]  # the one error whose code depends on its cause
