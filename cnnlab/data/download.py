"""Downloads."""

from pathlib import Path

from cnnlab.data.dataset import OnProgress
from cnnlab.data.standard import RemoteFile
from cnnlab.errors import MachineError


class Unavailable(MachineError):
    """No source had the file."""


def fetch(name: str, file: RemoteFile, folder: Path, *, offline: bool, on_progress: OnProgress) -> Path:
    """Put the published file into `folder`."""
    target = folder / file.name
    if target.is_file():
        return target
    raise Unavailable(
        f"{name} is not on this disk and cannot be downloaded yet",
        hint=f"Put {file.name} (SHA-256 {file.sha256}) into {folder}",
    )
