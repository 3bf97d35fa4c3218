"""The layer table of `--dry-run`."""

from rich.table import Table
from rich.text import Text

from cnnlab.cli.render.console import Output
from cnnlab.cli.render.train import duration
from cnnlab.text import counted, printable
from cnnlab.training.outline import Outline


def render_outline(output: Output, outline: Outline) -> None:
    """One row a layer; activations and normalisations only with -v, where they are not all there is.

    What holds parameters without having run is always shown: another row uses them.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading, justify in (
        ("layer", "left"),
        ("type", "left"),
        ("output", "right"),
        ("kernel", "right"),
        ("sees", "right"),
        ("weights", "right"),
        ("biases", "right"),
        ("mult-adds", "right"),
    ):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    shown = [
        layer
        for layer in outline.table.layers
        if output.verbose or layer.kernel or layer.macs or layer.receptive_field is None
    ]
    for layer in shown or outline.table.layers:
        kernel = ""
        if layer.kernel is not None and layer.stride is not None:
            kernel = _by(layer.kernel) + (f"/{layer.stride[0]}" if max(layer.stride) > 1 else "")
        table.add_row(
            Text(printable(layer.name)),
            layer.type,
            _by(layer.output_shape),
            kernel,
            _by(layer.receptive_field or ()),
            f"{layer.weights:,}",
            f"{layer.biases:,}",
            f"{layer.macs:,}",
        )
    totals = outline.table
    table.add_section()
    table.add_row(
        "total", "", "", "", "", f"{totals.weights:,}", f"{totals.biases:,}", f"{totals.macs:,}", style="bold"
    )
    if not output.has_room_for(table):
        table.padding = (0, 1, 0, 0)
    output.say(
        Text.assemble(
            (printable(outline.arch), "bold"), f" over {_by(totals.input_shape)}, {outline.classes} classes\n"
        ),
        table,
        Text(
            f"\n{totals.parameters:,} parameters; {_bytes(outline.activation_bytes)} of activations "
            f"for a batch of {outline.batch_size}"
        ),
    )
    if not output.verbose and len(shown) < len(totals.layers):
        output.say(
            Text(
                f"{counted(len(totals.layers) - len(shown), 'layer')} without kernel or product not shown: -v",
                style="dim",
            )
        )
    if outline.minutes is not None:
        output.say(
            Text(
                f"expected: about {duration(60 * outline.minutes)} for {counted(outline.epochs, 'epoch')} of "
                f"{outline.train_images:,} images, at {outline.images_per_s:,.0f} images/s on this machine"
            )
        )
    elif outline.images_per_s is not None:
        output.say(Text(f"expected: about {outline.images_per_s:,.0f} training images/s on this machine"))


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _bytes(count: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
