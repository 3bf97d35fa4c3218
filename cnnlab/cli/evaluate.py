"""`cnnlab evaluate`."""

from cnnlab.errors import UsageError


def evaluate() -> None:
    """Not there yet in this version."""
    raise UsageError("cnnlab evaluate is not there yet in this version", hint="See: cnnlab --help")
