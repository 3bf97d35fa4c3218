"""The layer table of `--dry-run`."""

from rich.table import Table
from rich.text import Text

from cnnlab.cli.render.console import Output
from cnnlab.cli.render.train import duration
from cnnlab.models.table import LayerRow, LayerTable
from cnnlab.text import counted, printable
from cnnlab.training.outline import Outline

_FOLDED = 14
"""Cells to which a long name may be folded."""


def render_outline(output: Output, outline: Outline) -> None:
    """One row a layer; activations and normalisations only with -v, where they are not all there is.

    What holds parameters without having run is always shown: another row uses them.
    """
    shown = [
        layer
        for layer in outline.table.layers
        if output.verbose or layer.kernel or layer.macs or layer.receptive_field is None
    ]
    totals = outline.table
    table = _that_fits(output, [_cells(layer) for layer in shown or totals.layers], totals)
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


def _cells(layer: LayerRow) -> dict[str, str]:
    kernel = ""
    if layer.kernel is not None and layer.stride is not None:
        kernel = _by(layer.kernel) + (f"/{layer.stride[0]}" if max(layer.stride) > 1 else "")
    return {
        "layer": printable(layer.name),
        "type": layer.type,
        "output": _by(layer.output_shape),
        "kernel": kernel,
        "sees": _by(layer.receptive_field or ()),
        "weights": f"{layer.weights:,}",
        "biases": f"{layer.biases:,}",
        "mult-adds": f"{layer.macs:,}",
    }


def _that_fits(output: Output, rows: list[dict[str, str]], totals: LayerTable) -> Table:
    """The table with as many columns as the terminal has room for, long names folded: no number is broken in two."""
    sums = {"weights": f"{totals.weights:,}", "biases": f"{totals.biases:,}", "mult-adds": f"{totals.macs:,}"}
    headings = list(rows[0])

    def table(gap: int, longest: int | None = None) -> Table:
        made = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
        for heading in headings:
            if heading in ("layer", "type"):
                made.add_column(heading, overflow="fold", max_width=longest)
            else:
                made.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            made.add_row(*(Text(row[heading]) for heading in headings))
        made.add_section()
        made.add_row("total", *(sums.get(heading, "") for heading in headings[1:]), style="bold")
        return made

    if output.has_room_for(table(2)):
        return table(2)
    for left_out in ("", "type", "biases", "kernel"):
        headings = [heading for heading in headings if heading != left_out]
        if output.has_room_for(table(1, _FOLDED)):
            break
    return table(1)


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _bytes(count: int) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
