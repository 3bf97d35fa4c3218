"""`cnnlab filter`: what image kernels do to pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnlab.cli.options import Json, Quiet, Verbose
from cnnlab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from cnnlab.imaging.batch import DrawSheet

_KERNEL = "Kernel"
_OUTPUT = "Output"


def filter_command(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE...", help="Files, folders, sample:china, sample:flower.")
    ] = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            "--kernel",
            "-k",
            metavar="KERNEL",
            help="Which kernel; may be given several times.",
            rich_help_panel=_KERNEL,
        ),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="List the named kernels with their options.", rich_help_panel=_KERNEL)
    ] = False,
    pad: Annotated[
        str | None,
        typer.Option(
            metavar="reflect|zero|edge|wrap|none",
            help="How the picture continues beyond its edge. Default: reflect; none for pools.",
            rich_help_panel=_KERNEL,
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Positions 0, N, 2N, …; default: 1.", rich_help_panel=_KERNEL),
    ] = None,
    channels: Annotated[
        str,
        typer.Option(metavar="each|gray|sum", help="What happens to a colour picture.", rich_help_panel=_KERNEL),
    ] = "each",
    flip: Annotated[
        bool, typer.Option("--flip", help="Turn the kernel by 180°: true convolution.", rich_help_panel=_KERNEL)
    ] = False,
    response: Annotated[
        str | None,
        typer.Option(
            metavar="clip|abs|signed|scale",
            help="How responses become gray levels. Unless said, abs where the kernel sums to 0; signed (zero is "
            "mid-gray) for learnt kernels and those below 0 on mid-gray; else clip.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR",
            help="Where to write, instead of beside the picture.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    sheet: Annotated[
        bool,
        typer.Option(
            "--sheet",
            help="Also write IMAGE-sheet.png, for a slide; soft-sheet.png with -o soft.jpg.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite other files.", rich_help_panel=_OUTPUT)] = False,
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="CPU threads; default: all cores.")] = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Where learnt kernels' runs are.")] = "runs",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """See what an image kernel does: edges, blur, pooling, a kernel that a net has learnt.

    KERNEL is a name (--list) with options, a matrix, a YAML file (name, matrix, scale, offset), or a learnt kernel.

    \b
    cnnlab filter photo.png --kernel sobel-x
    cnnlab filter sample:china -k edge -k blur -k sobel-x -k sobel-y --sheet
    cnnlab filter photo.jpg --kernel gaussian:size=15,sigma=3 -o soft.jpg
    cnnlab filter photo.png --kernel "-1 0 1; -2 0 2; -1 0 1" --response signed
    cnnlab filter photo.png --kernel max-pool:size=2
    cnnlab filter photos/ --kernel sobel --channels gray -o edges/
    cnnlab filter photo.png --kernel "last:conv1[3]" --sheet
    """
    from cnnlab.cli.render.console import Output
    from cnnlab.cli.render.filter import FilterView, show_kernels
    from cnnlab.imaging.applying import FilterOptions
    from cnnlab.imaging.batch import Destination, filter_images, find_sources
    from cnnlab.imaging.parsing import parse_kernel

    talk = Output(json=json, quiet=quiet, verbose=verbose)
    if show_list:
        show_kernels(talk)
        return
    if not kernel:
        raise UsageError("no kernel is named", hint="Add --kernel sobel-x, or see --list")
    if not images:
        raise UsageError("no picture is named", hint="Name files or folders, or try sample:china")
    options = FilterOptions(pad, stride, channels, response, flip, threads)  # type: ignore[arg-type]  # it checks them
    kernels = [parse_kernel(text, lambda run: _best_weights(run, Path(out))) for text in kernel]
    sources = find_sources(images, kernels)
    if sources.others:
        talk.note(_left_out(sources.others))
    draw = _sheet_drawer() if sheet else None
    events = filter_images(sources, kernels, options, Destination(output, force), draw)
    failed = FilterView(talk, sources, default_response=response is None).follow(events)
    if failed:
        raise typer.Exit(failed)


def _left_out(others: "Sequence[Path]") -> str:
    """The notice on files in folders that are not read."""
    from cnnlab.text import counted, cut

    kinds = sorted({path.suffix.lower() or path.name for path in others})
    more = ", …" if len(kinds) > 6 else ""
    return f"{counted(len(others), 'file')} left out, of kinds that are not read: {cut(', '.join(kinds[:6]))}{more}"


def _sheet_drawer() -> "DrawSheet":
    from cnnlab.report.sheet import draw_sheet  # matplotlib, for this flag alone

    return draw_sheet


def _best_weights(run: str, out: Path) -> "Mapping[str, np.ndarray]":
    """The weights of a run's best epoch; no torch is needed for that."""
    from cnnlab.training.checkpoint import load
    from cnnlab.training.run_folder import RunFolder, find_run

    return load(RunFolder(find_run(run, out)).checkpoints, "best").tensors
