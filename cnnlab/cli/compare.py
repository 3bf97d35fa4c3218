"""`cnnlab compare`: which net is better, and how surely."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cnnlab.choices import Band, Match, XAxis
from cnnlab.cli.options import (
    AllowDuplicates,
    BatchSize,
    Data,
    DataDir,
    Device,
    Engine,
    Epochs,
    Json,
    Lr,
    MaxMinutes,
    Offline,
    Out,
    Precision,
    Quiet,
    Seed,
    Set,
    SkipBad,
    Threads,
    TrustCode,
    Verbose,
)
from cnnlab.errors import MachineError, Stopped

if TYPE_CHECKING:
    from cnnlab.comparison.events import Tell
    from cnnlab.comparison.plan import Options
    from cnnlab.training.settings import Settings


_COMPARISON = "Comparison"


def compare(
    specs: Annotated[
        list[str] | None,
        typer.Argument(metavar="SPEC...", help="[LABEL=]NAME[:key=value,...]: an architecture, a recipe or a run."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Seeds, from --seed on.", rich_help_panel=_COMPARISON)
    ] = 1,
    match: Annotated[
        Match | None,
        typer.Option(help="Widths that cost what the first net costs.", rich_help_panel=_COMPARISON),
    ] = None,
    band: Annotated[
        Band, typer.Option(help="What the bands over seeds show.", rich_help_panel=_COMPARISON)
    ] = "min-max",
    x: Annotated[XAxis, typer.Option("--x", help="The figures' axis.", rich_help_panel=_COMPARISON)] = "epoch",
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Record and show δ by layer.", rich_help_panel=_COMPARISON)
    ] = False,
    assignments: Set = None,
    data: Data = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Lr = None,
    seed: Seed = None,
    precision: Precision = None,
    threads: Threads = None,
    max_minutes: MaxMinutes = None,
    device: Device = "auto",
    engine: Engine = "torch",
    out: Out = Path("runs"),
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The comparison's folder; the same command goes on there.", rich_help_panel="Run"
        ),
    ] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    skip_bad: SkipBad = False,
    allow_duplicates: AllowDuplicates = False,
    trust_code: TrustCode = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say which net is better, and how surely: same data, split, seeds and epochs for all; figures and a report.

    \b
    cnnlab compare mlp cnn                            CIFAR-10; offline, digits
    cnnlab compare mlp cnn --seeds 3 --name homework  the same again goes on
    cnnlab compare cnn wide=cnn:width=64 slow=cnn:optim.lr=0.01
    cnnlab compare cnn mlp --match params             as many parameters each
    cnnlab compare plain:depth=20 resnet:depth=20 --gradients --epochs 5
    cnnlab compare one=cnn other=cnn:seed=7           what chance alone does
    cnnlab compare runs/my-run last                   two finished runs
    """
    from cnnlab.cli.render.console import Output
    from cnnlab.comparison.plan import Options
    from cnnlab.recipe.load import short_flags
    from cnnlab.training.settings import Settings

    output = Output(json=json, quiet=quiet, verbose=verbose)
    flags = short_flags(
        data=data,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        precision=precision,
        threads=threads,
        max_minutes=max_minutes,
        skip_bad=skip_bad,
        allow_duplicates=allow_duplicates,
    )
    options = Options(
        seeds=seeds,
        match=match,
        band=band,
        x=x,
        assignments=tuple(assignments or ()),
        flags=flags,
        trust_code=trust_code,
    )
    settings = Settings(
        out=out,
        name=name,
        device=device,
        engine=engine,
        gradients=gradients,
        data_dir=data_dir,
        offline=offline,
        command=("cnnlab", *sys.argv[1:]),
    )
    _compare(specs or [], options, settings, output)


def _compare(specs: list[str], options: "Options", settings: "Settings", output: Any) -> None:
    from cnnlab.cli.render.compare import CompareView
    from cnnlab.cli.render.comparison import render_comparison
    from cnnlab.cli.signals import stop_kindly

    with CompareView(output) as view:
        try:
            with stop_kindly(view.show) as tell:
                from cnnlab.comparison.compare import compare as run

                comparison = run(specs, options, settings, cast("Tell", tell))
        except (Stopped, MachineError) as error:
            if view.folder is not None:
                go_on = f"Go on: the same command with --name {view.folder.name}"
                error.hint = f"{error.hint}\n{go_on}" if error.hint else go_on
            raise
    render_comparison(output, comparison)
    output.result(comparison.document())
