"""`cnnlab gradcheck`."""

from cnnlab.errors import UsageError


def gradcheck() -> None:
    """Not there yet in this version."""
    raise UsageError("cnnlab gradcheck is not there yet in this version", hint="See: cnnlab --help")
