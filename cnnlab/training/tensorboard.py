"""`--log tensorboard`: the metrics as event files, for those whose eyes are used to TensorBoard."""

import importlib.util
from dataclasses import asdict
from pathlib import Path

from cnnlab.errors import UsageError
from cnnlab.files import require_no_link
from cnnlab.training.run_folder import EpochRow


def require_tensorboard() -> None:
    """Raises UsageError where the extra is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError("--log tensorboard needs TensorBoard", hint='Install it: pip install "cnnlab[tensorboard]"')


class TensorBoard:
    """Event files in `<run>/tensorboard`."""

    def __init__(self, run: Path, epoch: int) -> None:
        """Begin with `epoch`: what earlier event files say of it and of later ones is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run / "tensorboard"
        require_no_link(folder)
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=epoch)

    def add(self, row: EpochRow) -> None:
        """One epoch's metrics, flushed, so that they show at once."""
        for name, value in asdict(row).items():
            if name != "epoch" and value is not None:
                self.writer.add_scalar(name, value, row.epoch)
        self.writer.flush()
