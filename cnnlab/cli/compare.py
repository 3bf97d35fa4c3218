"""`cnnlab compare`."""

from cnnlab.errors import UsageError


def compare() -> None:
    """Not there yet in this version."""
    raise UsageError("cnnlab compare is not there yet in this version", hint="See: cnnlab --help")
