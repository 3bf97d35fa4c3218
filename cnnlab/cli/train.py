"""`cnnlab train`: one net, trained to the end."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    RunName,
    Seed,
    Set,
    SkipBad,
    Threads,
    TrustCode,
    Verbose,
)
from cnnlab.errors import UsageError

if TYPE_CHECKING:
    from cnnlab.cli.render.console import Output
    from cnnlab.recipe.schema import Recipe
    from cnnlab.training.settings import Settings


def train(
    arch: Annotated[str | None, typer.Option(metavar="SPEC", help="The net: NAME[:key=value,...]; see --list.")] = None,
    recipe: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="A recipe, shipped or your own.")] = None,
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
    name: RunName = None,
    gradients: Annotated[bool, typer.Option("--gradients", help="Record δ and ∂J/∂w by layer and epoch.")] = False,
    log: Annotated[
        str | None, typer.Option(metavar="tensorboard", help="Also write TensorBoard's event files.")
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Show where the time goes.")] = False,
    no_test: Annotated[bool, typer.Option("--no-test", help="Leave the test set alone.")] = False,
    init_from: Annotated[str | None, typer.Option(metavar="RUN", help="Start from a run's best weights.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a stopped run.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Pre-flight checks in seconds, instead of training.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the layer table instead of training.")] = False,
    input_shape: Annotated[
        str | None, typer.Option("--input", metavar="CxHxW", help="--dry-run for this input: needs no data.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Classes for --input; 10 if not given.")
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List architectures, recipes and data sets.")] = False,
    print_recipe: Annotated[bool, typer.Option("--print-recipe", help="Show the resolved recipe as YAML.")] = False,
    data_dir: DataDir = None,
    offline: Offline = False,
    skip_bad: SkipBad = False,
    allow_duplicates: AllowDuplicates = False,
    trust_code: TrustCode = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a net; keep the best validation epoch, report its test accuracy.

    \b
    cnnlab train --arch cnn                          CIFAR-10; offline, digits
    cnnlab train --arch mlp:depth=3,width=256 --data fashion-mnist
    cnnlab train --arch cnn --data photos/ --set data.image_size=64
    cnnlab train --arch resnet:depth=20 --epochs 30 --lr 0.2
    cnnlab train --arch net.py:Net --data digits     your own nn.Module
    cnnlab train --arch mlp:width=100,depth=1 --dry-run --input 3x224x224
    cnnlab train --arch cnn --epochs 2 --profile     where the time goes
    cnnlab train --resume last                       go on after a stop
    torchrun --nproc-per-node 2 -m cnnlab train      two processes, one training
    """
    from cnnlab.cli.render.console import Output
    from cnnlab.recipe import load
    from cnnlab.recipe.effect import without_effect
    from cnnlab.recipe.spec import parse_options, parse_spec
    from cnnlab.training.settings import Settings, require_alone
    from cnnlab.training.torchrun import rank, require_one_process

    for asked, flag in (
        (show_list, "--list"),
        (print_recipe, "--print-recipe"),
        (dry_run, "--dry-run"),
        (check, "--check"),
        (engine == "numpy", "--engine numpy"),
    ):
        if asked:
            require_one_process(f"cnnlab train {flag}")
    output = Output(json=json, quiet=quiet or rank() > 0, verbose=verbose, answers=not rank())
    if show_list:
        return _show_list(output)
    if log not in (None, "tensorboard"):
        raise UsageError(f"--log: expected tensorboard, received {log!r}")
    flags = load.short_flags(
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
    settings = Settings(
        out=out,
        name=name,
        device=device,
        engine=engine,
        gradients=gradients,
        tensorboard=log is not None,
        profile=profile,
        test=not no_test,
        data_dir=data_dir,
        offline=offline,
        command=("cnnlab", *sys.argv[1:]),
    )
    if (input_shape is not None or classes is not None) and not dry_run:
        raise UsageError("--input and --classes go with --dry-run: a training has those of its data")
    modes = {"--resume": resume is not None, "--print-recipe": print_recipe, "--dry-run": dry_run, "--check": check}
    asked_for = [flag for flag, was_given in modes.items() if was_given]
    if len(asked_for) > 1:
        raise UsageError(f"{asked_for[0]} and {asked_for[1]} do not go together", hint="Ask for one at a time")
    if resume is not None:
        beside = {"--arch": arch, "--recipe": recipe, "--set": tuple(assignments or ()), **flags}
        require_alone(settings, beside | {"--init-from": init_from})
        return _resume(resume, settings, output, trust_code=trust_code, threads=threads)
    if check and init_from is not None:
        raise UsageError("--check looks at new weights, not at those of --init-from", hint="Leave one of them out")
    spec = parse_spec(arch) if arch is not None else None if recipe else parse_spec("cnn")
    resolved = load.resolve(arch=spec, recipe=recipe, settings=assignments or (), flags=flags, trust_code=trust_code)
    if print_recipe:
        return _print_recipe(resolved, output)
    typed = [*(spec.options if spec else ()), *(key for text in assignments or () for key in parse_options(text))]
    for sentence in without_effect(resolved, typed):
        output.note(sentence)
    if dry_run:
        return _dry_run(resolved, settings, input_shape, classes, output)
    if check:
        return _check(resolved, settings, output)
    return _train(resolved, settings, init_from, output)


def _train(recipe: "Recipe", settings: "Settings", init_from: str | None, output: "Output") -> None:
    from dataclasses import replace

    from cnnlab.cli.render.train import TrainView
    from cnnlab.cli.signals import stop_kindly
    from cnnlab.training.run_folder import find_run

    if init_from is not None:
        settings = replace(settings, init_from=find_run(init_from, settings.out))
    with TrainView(output) as view, stop_kindly(view.show) as tell:
        from cnnlab.training.loop import train

        finished = train(recipe, settings, tell)
    output.result(finished.result)


def _resume(run: str, settings: "Settings", output: "Output", *, trust_code: bool, threads: int | None) -> None:
    from cnnlab.cli.render.train import TrainView
    from cnnlab.cli.signals import stop_kindly
    from cnnlab.training.run_folder import find_run

    path = find_run(run, settings.out)
    with TrainView(output) as view, stop_kindly(view.show) as tell:
        from cnnlab.training.loop import resume

        finished = resume(path, settings, tell, trust_code=trust_code, threads=threads, asked=run)
    output.result(finished.result)


def _check(recipe: "Recipe", settings: "Settings", output: "Output") -> None:
    from cnnlab.cli.render.console import error_document, render_error
    from cnnlab.cli.render.preflight import render_preflight
    from cnnlab.cli.render.train import TrainView
    from cnnlab.training.preflight import preflight

    with TrainView(output) as view:
        report = preflight(recipe, settings, view.show)
    for notice in view.notices:
        output.note(notice)
    render_preflight(output, report)
    error = report.failure()
    output.result(report.document() | ({"error": error_document(error)} if error else {}))
    if error is not None:
        if not output.json:
            render_error(error, as_json=False)
        raise typer.Exit(error.exit_code)


def _dry_run(
    recipe: "Recipe", settings: "Settings", input_shape: str | None, classes: int | None, output: "Output"
) -> None:
    from cnnlab.cli.render.layers import render_outline
    from cnnlab.cli.render.train import TrainView
    from cnnlab.training.outline import outline, parse_shape

    shape = None if input_shape is None else parse_shape(input_shape)
    with TrainView(output) as view:
        result = outline(recipe, settings, input_shape=shape, classes=classes, tell=view.show)
    render_outline(output, result)
    output.result(result.document())


def _print_recipe(recipe: "Recipe", output: "Output") -> None:
    from cnnlab.recipe.load import dump

    if output.json:
        output.result(recipe.model_dump())
    else:
        typer.echo(dump(recipe), nl=False)


def _show_list(output: "Output") -> None:
    from cnnlab.cli.render.lists import catalogue, render_catalogue

    entries = catalogue()
    render_catalogue(output, entries)
    output.result(entries)
