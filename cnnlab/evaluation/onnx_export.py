"""A run's net as one ONNX file that takes raw pictures, checked against the net itself."""

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.errors import MachineError, NumericError, UsageError
from cnnlab.evaluation.opened import OpenRun
from cnnlab.files import write_atomically
from cnnlab.text import printable
from cnnlab.training.net import build_net

OPSET = 18
CHECKED = 1000
"""Pictures on which the exported file is compared with the net."""
_MAX_BYTES = 2**31 - 2**20
"""One ONNX file is one protocol buffer of less than 2 GiB."""
_TIE = 1e-4
"""Two largest outputs nearer than this, relative to the largest magnitude, may change places by rounding."""


@dataclass(frozen=True)
class Exported:
    """An exported net. Input `images` (N, C, H, W) float32, levels 0-255; output `logits` (N, classes) float32."""

    path: Path
    opset: int
    bytes: int
    checked: int
    """Pictures compared in onnxruntime; 0 where it is not installed."""
    same_top1: int
    """Of these, how many get the same class."""
    max_difference: float | None
    """Largest difference of an output."""

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**self.__dict__, "path": str(self.path)}


def check_export(path: Path) -> None:
    """Refuse before any work what could not be exported afterwards.

    Raises:
        UsageError: the extra is not installed, or the file's ending is another.
        MachineError: there is no such folder.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"--export needs the package {package}, which is not installed",
                hint='Install it: pip install "cnnlab[onnx]"',
            )
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"--export writes ONNX: expected a name ending in .onnx, received {printable(path)}")
    if not path.parent.is_dir():
        raise MachineError(f"no such folder: {printable(path.parent)}", hint="Make it first")


def export(run: OpenRun, path: Path, images: np.ndarray) -> Exported:
    """Write the net with its normalisation to `path`, in float32, for any number of pictures at once.

    Args:
        run: the open run.
        path: ends in .onnx.
        images: (N, H, W, C) uint8, the first `CHECKED` of which are predicted by both.

    Raises:
        UsageError: the net cannot be exported.
        NumericError: the file predicts other classes than the net; it is not written then.
        MachineError: it cannot be written.
    """
    import torch

    net = _with_normalisation(run)
    content = _to_onnx(net, run)
    images = images[:CHECKED]
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)  # (N, C, H, W)
    with torch.inference_mode():
        expected = net(torch.from_numpy(pixels)).numpy()
    checked, same, difference = _check(content, pixels, expected)
    write_atomically(path, content)
    return Exported(path, OPSET, len(content), checked, same, difference)


def _with_normalisation(run: OpenRun) -> Any:
    """The net in evaluation mode, float32, taking levels 0-255."""
    import torch
    from torch import Tensor, nn

    class FromLevels(nn.Module):
        """Normalises as training did, then asks the net."""

        mean: Tensor
        scale: Tensor

        def __init__(self, net: nn.Module, mean: np.ndarray, std: np.ndarray) -> None:
            super().__init__()
            self.net = net
            self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
            self.register_buffer("scale", torch.tensor(1 / std, dtype=torch.float32).view(1, -1, 1, 1))

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.net((images - self.mean) * self.scale)
            return logits

    height, width, channels = run.image_shape
    net = build_net(run.recipe, (channels, height, width), len(run.classes))
    net.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in run.weights.items()})
    return FromLevels(net, run.mean, run.std).float().eval()


def _to_onnx(net: Any, run: OpenRun) -> bytes:
    """The net as ONNX; its exporter's talk is kept off the streams."""
    import torch

    height, width, channels = run.image_shape
    example = torch.zeros((2, channels, height, width))
    with _silence():
        try:
            program = torch.onnx.export(
                net,
                (example,),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:
            reason = printable(str(error).partition("\n")[0])[:200]
            raise UsageError(
                f"this net cannot be exported to ONNX: {type(error).__name__}: {reason}",
                hint="A net of your own must be written without Python branches on its input's values",
            ) from error
    assert program is not None
    model = program.model_proto
    about = {
        "classes": json.dumps(list(run.classes), ensure_ascii=False),
        "input": "float32 levels 0-255, NCHW, " + ("gray" if channels == 1 else "RGB"),
        "arch": run.arch,
        "run": run.folder.path.name,
    }
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    if model.ByteSize() > _MAX_BYTES:
        raise UsageError(f"this net is too large for one ONNX file: {model.ByteSize():,} bytes, at most {_MAX_BYTES:,}")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _check(content: bytes, pixels: np.ndarray, expected: np.ndarray) -> tuple[int, int, float | None]:
    """Predict in onnxruntime: pictures compared, how many get the same class, the largest difference of an output."""
    if importlib.util.find_spec("onnxruntime") is None:
        return 0, 0, None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (received,) = session.run(["logits"], {"images": pixels})
    same = received.argmax(axis=1) == expected.argmax(axis=1)
    largest = np.sort(expected, axis=1)[:, -2:]  # (N, 2)
    tied = largest[:, 1] - largest[:, 0] <= _TIE * np.abs(expected).max()
    if not (same | tied).all():
        wrong = int((~(same | tied)).sum())
        raise NumericError(
            f"the exported net predicts another class for {wrong} of {len(same)} pictures; nothing was written",
            hint="Please report it with the recipe: the exporter does not do justice to this net",
        )
    return len(same), int(same.sum()), float(np.abs(received - expected).max())
