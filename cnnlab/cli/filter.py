"""`cnnlab filter`."""

from cnnlab.errors import UsageError


def filter_command() -> None:
    """Not there yet in this version."""
    raise UsageError("cnnlab filter is not there yet in this version", hint="See: cnnlab --help")
