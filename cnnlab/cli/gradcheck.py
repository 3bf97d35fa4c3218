"""`cnnlab gradcheck`: the hand-derived gradients, proved."""

from typing import Annotated

import typer

from cnnlab.cli.options import Json, Quiet, TrustCode, Verbose


def gradcheck(
    layers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LAYER]...", help="Layers, such as Conv2d, or your own: FILE.py:Class. Default: all."),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(metavar="SPEC", help="A whole net: its parameters, a sample of each.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the formulas, a worked 3×3 example and where the code is.")
    ] = False,
    inject_bug: Annotated[
        str | None, typer.Option(metavar="NAME|all", help="Plant a known mistake: it must be caught.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the weights, inputs and upstream gradients.")
    ] = 0,
    trust_code: TrustCode = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Prove the hand-derived gradients: against central differences and PyTorch's autograd, in float64.

    Your own layer has forward(x), backward(delta), its parameters as arrays and grads, a dict of their gradients;
    an array that is none begins its name with _. Where its gradients are wrong, you are told which known mistake they
    equal. Its file is run.

    \b
    cnnlab gradcheck                              every layer
    cnnlab gradcheck Conv2d MaxPool2d --explain   formula, numbers, proof
    cnnlab gradcheck --arch resnet:depth=20       a whole net
    cnnlab gradcheck homework.py:MyConv           your own layer
    cnnlab gradcheck --inject-bug all             each known mistake is caught
    cnnlab gradcheck --inject-bug conv-unflipped-kernel
    """
    from cnnlab.cli.render.console import Output, error_document, render_error
    from cnnlab.cli.render.gradcheck import render_explanation, render_report, watching
    from cnnlab.gradient_check import explain as explain_layers
    from cnnlab.gradient_check import failure
    from cnnlab.gradient_check import gradcheck as check

    output = Output(json=json, quiet=quiet, verbose=verbose)
    explanations = explain_layers(layers or [], inject_bug) if explain and not (arch and not layers) else []
    for explanation in explanations:
        output.say(render_explanation(explanation))
    if explain and not explanations:
        output.note("--explain is for cnnlab's own layers, such as cnnlab gradcheck Conv2d --explain")
    with watching(output) as tell, output.divert():
        report = check(layers or [], arch=arch, inject_bug=inject_bug, seed=seed, trust_code=trust_code, tell=tell)
    output.say(*render_report(report, verbose=verbose))
    document = report.document()
    if explain:
        document["explanations"] = [explanation.document() for explanation in explanations]
    error = failure(report)
    if error is not None:
        document["error"] = error_document(error)
    output.result(document)
    if error is not None:
        if not (json or report.all_caught):
            render_error(error, as_json=False)
        raise typer.Exit(error.exit_code)
