"""The table of `train --check`."""

from rich.table import Table
from rich.text import Text

from cnnlab.cli.render.console import Output
from cnnlab.text import printable
from cnnlab.training.preflight import Preflight


def render_preflight(output: Output, report: Preflight) -> None:
    """The verdicts, then δ, ∂J/∂w and f′ layer by layer."""
    verdicts = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for heading in ("check", "measured", "expected", ""):
        verdicts.add_column(heading, overflow="fold")
    for verdict in report.verdicts:
        mark = Text("ok", style="bold green") if verdict.passed else Text("FAILED", style="bold red")
        verdicts.add_row(verdict.check, Text(verdict.measured), Text(verdict.expected), mark)
    layers = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for heading in ("layer", "RMS of δ", "RMS of ∂J/∂w", "mean f′", "dead units"):
        layers.add_column(heading, justify="left" if heading == "layer" else "right")
    for layer in report.layers:
        layers.add_row(
            Text(printable(layer.layer)),
            f"{layer.delta_rms:.2e}",
            f"{layer.weight_rms:.2e}",
            "" if layer.slope is None else f"{layer.slope:.3f}",
            "" if layer.dead is None else f"{100 * layer.dead:.1f} %",
        )
    output.say(verdicts, "", layers, Text(f"{report.seconds:.1f} s", style="dim"))
