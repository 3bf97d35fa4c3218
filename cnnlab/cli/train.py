"""`cnnlab train`."""

from cnnlab.errors import UsageError


def train() -> None:
    """Not there yet in this version."""
    raise UsageError("cnnlab train is not there yet in this version", hint="See: cnnlab --help")
