"""`cnnlab evaluate`: what a finished run is worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.choices import DeviceName, SplitName
from cnnlab.cli.options import (
    AllowDuplicates,
    Data,
    DataDir,
    Device,
    Json,
    Offline,
    Out,
    Precision,
    Quiet,
    SkipBad,
    Threads,
    TrustCode,
    Verbose,
)
from cnnlab.errors import DataError, UsageError
from cnnlab.files import is_file
from cnnlab.text import command_path, printable

if TYPE_CHECKING:
    from cnnlab.cli.render.console import Output
    from cnnlab.evaluation.opened import Changes


_DATA = "Data"


def evaluate(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's folder, the start of its name, or last.")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE", help="Pictures, or folders of them, to classify.")
    ] = None,
    split: Annotated[SplitName | None, typer.Option(help="Which part: test (default), val or train.")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Also average over mirrored and shifted views.")] = False,
    onnx: Annotated[
        Path | None, typer.Option("--export", metavar="FILE.onnx", help="Also write the net as ONNX.")
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    skip_bad: SkipBad = False,
    allow_duplicates: AllowDuplicates = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="How --data is read: data.image_size=32.", rich_help_panel=_DATA
        ),
    ] = None,
    precision: Precision = None,
    threads: Threads = None,
    device: Device = "auto",
    out: Out = Path("runs"),
    trust_code: TrustCode = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what a run is worth: by class, confusion, calibration, worst mistakes. Without RUN: list the runs.

    \b
    cnnlab evaluate                                 the runs there are
    cnnlab evaluate last                            the newest, on its test set
    cnnlab evaluate 20260301 --split val            the run whose name begins so
    cnnlab evaluate last --data photos/ --set data.image_size=32
    cnnlab evaluate last --export model.onnx        as ONNX, checked
    cnnlab evaluate last cat.jpg more-photos/       classify pictures
    """
    from cnnlab.cli.render.console import Output

    output = Output(json=json, quiet=quiet, verbose=verbose)
    asked = {"--split": split, "--tta": tta, "--export": onnx, "--data": data}
    if run is None:
        _refuse("without a RUN the runs are listed", asked)
        _list(out, output)
        return
    path = _found(run, out)
    from cnnlab.evaluation.opened import Changes

    changes = Changes(
        data=data,
        settings=tuple(assignments or ()),
        precision=precision,
        threads=threads,
        skip_bad=skip_bad,
        allow_duplicates=allow_duplicates,
    )
    if images:
        _refuse("single pictures are classified", asked)
        _classify(path, images, changes, device, output, trust_code=trust_code)
        return

    from cnnlab.cli.render.evaluate import render_evaluation
    from cnnlab.cli.render.train import TrainView
    from cnnlab.evaluation.evaluate import evaluate as evaluate_run

    with TrainView(output) as view:
        result = evaluate_run(
            path,
            split=split or "test",
            changes=changes,
            tta=tta,
            onnx=onnx,
            device=device,
            data_dir=data_dir,
            offline=offline,
            trust_code=trust_code,
            tell=view.show,
        )
    render_evaluation(output, result, view.notices)
    output.result(result.document())


def _found(run: str, out: Path) -> Path:
    """The folder of a run; a picture in its place is told where it belongs."""
    from cnnlab.training.run_folder import find_run

    try:
        return find_run(run, out)
    except UsageError as error:
        if is_file(Path(run)):
            hint = f"RUN comes first: cnnlab evaluate last {command_path(run)}"
            raise UsageError(f"{printable(run)} is a file, expected a RUN", hint=hint) from error
        raise


def _list(out: Path, output: "Output") -> None:
    from cnnlab.cli.render.evaluate import render_runs
    from cnnlab.evaluation.listing import summaries

    runs = summaries(out)
    render_runs(output, runs, out)
    output.result({"runs": [summary.document() for summary in runs]})


def _classify(
    run: Path, images: list[Path], changes: "Changes", device: DeviceName, output: "Output", *, trust_code: bool
) -> None:
    from cnnlab.cli.render.console import error_document
    from cnnlab.cli.render.evaluate import render_classification
    from cnnlab.cli.render.train import TrainView
    from cnnlab.evaluation.classify import classify

    with TrainView(output) as view:
        result = classify(run, images, changes=changes, device=device, trust_code=trust_code, tell=view.show)
    render_classification(output, result, view.notices)
    document = result.document()
    if result.failures:
        document["error"] = error_document(DataError(result.failures[0].problem))
    output.result(document)
    if result.failures:
        raise typer.Exit(DataError.exit_code)


def _refuse(why: str, asked: Mapping[str, object]) -> None:
    for flag, value in asked.items():
        if value:
            raise UsageError(f"{flag} goes with the evaluation of a run on a data set; {why}", hint=f"Leave out {flag}")
