"""The Typer application: which commands there are. Importing it must stay cheap: no command imports its core here."""

from typing import Annotated

import typer

from cnnlab import __version__
from cnnlab.cli.compare import compare
from cnnlab.cli.evaluate import evaluate
from cnnlab.cli.filter import filter_command
from cnnlab.cli.gradcheck import gradcheck
from cnnlab.cli.train import train

app = typer.Typer(
    name="cnnlab",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("train")(train)
app.command("compare")(compare)
app.command("evaluate")(evaluate)
app.command("gradcheck")(gradcheck)
app.command("filter")(filter_command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"cnnlab {__version__}")
        raise typer.Exit


@app.callback()
def cnnlab(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A lab bench for convolutional networks.

    \b
    cnnlab train --arch cnn                     train a net
    cnnlab compare mlp cnn                      which net is better, how surely
    cnnlab evaluate last                        what a finished run is worth
    cnnlab gradcheck Conv2d --explain           the hand-derived gradients, proved
    cnnlab filter photo.png --kernel sobel-x    what an image kernel does
    """
    from cnnlab.training.torchrun import require_one_process

    if context.invoked_subcommand != "train":
        require_one_process(f"cnnlab {context.invoked_subcommand}")
