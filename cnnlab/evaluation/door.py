"""`cnnlab.evaluate`: the command as a function."""

from collections.abc import Iterable
from pathlib import Path

from cnnlab.choices import DeviceName, Precision, SplitName
from cnnlab.evaluation.evaluate import Evaluation
from cnnlab.evaluation.evaluate import evaluate as run_evaluation
from cnnlab.evaluation.opened import Changes
from cnnlab.training.events import Tell, tell_nobody
from cnnlab.training.run_folder import find_run


def evaluate(
    run: str | Path,
    *,
    split: SplitName = "test",
    tta: bool = False,
    onnx: str | Path | None = None,
    data: str | None = None,
    set: Iterable[str] = (),  # the flag's name
    precision: Precision | None = None,
    threads: int | None = None,
    skip_bad: bool = False,
    allow_duplicates: bool = False,
    device: DeviceName = "auto",
    data_dir: str | Path | None = None,
    offline: bool = False,
    out: str | Path = "runs",
    tell: Tell = tell_nobody,
    trust_code: bool = False,
) -> Evaluation:
    """Evaluate a run on a data set as `cnnlab evaluate` does.

    Args:
        run: its folder, a unique prefix of its name, or `"last"`.
        split: `"test"`, `"val"` or `"train"`.
        tta: also average over mirrored and shifted views.
        onnx: also export the net to this file (`--export`).
        data: other data than the run's own.
        set: `"data.image_size=32"`: how `data` are read.
        precision, threads, skip_bad, allow_duplicates, device, data_dir, offline, trust_code: as the flags.
        out: the folder in which a run is looked for by name.
        tell: receives `Loading` and `Notice` events.

    Returns:
        Every figure, the predictions and the names of the files written.

    Raises:
        CnnlabError: as the command fails; `exit_code` says with which code.
    """
    return run_evaluation(
        find_run(str(run), Path(out)),
        split=split,
        changes=Changes(data, tuple(set), precision, threads, skip_bad, allow_duplicates),
        tta=tta,
        onnx=None if onnx is None else Path(onnx),
        device=device,
        data_dir=None if data_dir is None else Path(data_dir),
        offline=offline,
        trust_code=trust_code,
        tell=tell,
    )
