"""What `cnnlab filter` shows: the table of kernels, the table of outputs, the failures."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cnnlab.cli.render.console import Output, error_document, render_error
from cnnlab.imaging.batch import Event, ImageDone, ImageFailed, ImageStarted, Sources, Written
from cnnlab.imaging.decomposition import decompose
from cnnlab.imaging.kernels import KERNELS, Kernel, NamedKernel, named_kernel
from cnnlab.text import counted, printable


class FilterView:
    """Shows a batch as it runs, and what came of it."""

    def __init__(self, output: Output, sources: Sources, *, default_response: bool) -> None:
        self.output = output
        self.default_response = default_response
        self.sources = sources
        self.done: list[ImageDone] = []
        self.failed: list[ImageFailed] = []

    def follow(self, events: Iterable[Event]) -> int:
        """Show everything; return the exit code. A single picture's failure is raised as it is."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Pillow's remarks on odd metadata
            self._watch(events)
        if self.failed and len(self.sources.paths) == 1:
            raise self.failed[0].error
        self._show_outputs()
        self._show_failures()
        self.output.result(self._document())
        return self.failed[0].error.exit_code if self.failed else 0

    def _watch(self, events: Iterable[Event]) -> None:
        total = len(self.sources.paths)
        talk = self.output.talk
        if total == 1 or self.output.quiet or not talk.is_terminal:
            for event in events:
                self._note(event)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=talk, transient=True) as progress:
            task = progress.add_task("", total=total)
            for event in events:
                self._note(event)
                if isinstance(event, ImageStarted):
                    progress.update(task, description=printable(event.source.name).replace("[", r"\["))
                else:
                    progress.advance(task)

    def _note(self, event: Event) -> None:
        if isinstance(event, ImageDone):
            self.done.append(event)
        elif isinstance(event, ImageFailed):
            self.failed.append(event)

    def _show_outputs(self) -> None:
        if self.sources.skipped:
            left_out = counted(len(self.sources.skipped), "file")
            self.output.say(Text(f"{left_out} left out, named like an output of an earlier call", style="yellow"))
        outputs = [output for image in self.done for output in image.outputs]
        if not outputs:
            return
        self._list(outputs)
        for image in self.done:
            if image.sheet:
                self.output.say_whole(Text(f"sheet: {printable(image.sheet)}"))
        cut = [printable(image.source) for image in self.done if image.more_frames]
        if cut:
            of = cut[0] if len(cut) == 1 else f"{len(cut)} pictures, {cut[0]} among them"
            self.output.say_whole(Text(f"the first page or frame alone of {of}: others follow it", style="yellow"))
        if self.output.verbose:
            self._explain(outputs)

    def _list(self, outputs: Sequence[Written]) -> None:
        """A row for each output; where the terminal is too narrow, what came out below the path instead of beside."""
        table = Table(box=None, pad_edge=False)
        for name in ("written", "kernel", "size", "response", "from … to", "ms"):
            table.add_column(name, justify="left" if name in ("written", "kernel", "response") else "right")
        rows = [self._row(output) for output in outputs]
        for row in rows:
            table.add_row(*map(Text, row))
        if self.output.has_room_for(table):
            self.output.say(table)
            return
        for path, *figures, milliseconds in rows:
            self.output.say_whole(Text(path))
            self.output.say(Padding(Text(", ".join([*figures, f"{milliseconds} ms"])), (0, 0, 0, 2)))

    def _row(self, output: Written) -> tuple[str, ...]:
        filtered = output.filtered
        height, width, channels = filtered.picture.pixels.shape
        return (
            printable(output.path),
            printable(filtered.kernel.label),
            f"{width}×{height}×{channels}",
            f"{filtered.response} (default)" if self.default_response else filtered.response,
            f"{_short(filtered.low)} … {_short(filtered.high)}",
            f"{output.seconds * 1e3:,.0f}",
        )

    def _explain(self, outputs: Iterable[Written]) -> None:
        """How each kernel was worked out, once."""
        seen: set[int] = set()
        for output in outputs:
            filtered = output.filtered
            if id(filtered.kernel) in seen:
                continue
            seen.add(id(filtered.kernel))
            where = f"pad {filtered.pad}, stride {filtered.stride}, response {filtered.response}"
            self.output.say(f"{printable(filtered.kernel.label)}: {where}")
            for matrix, plan in zip(filtered.kernel.matrices, filtered.job.plans, strict=False):
                self.output.say(f"  {decompose(matrix).explain()}; run as {plan.describe()}")

    def _show_failures(self) -> None:
        if not self.failed:
            return
        self.output.say(Text(f"{len(self.failed)} of {len(self.sources.paths)} pictures failed", style="bold red"))
        if not self.output.json:
            for failure in self.failed:
                render_error(failure.error, as_json=False)

    def _document(self) -> dict[str, Any]:
        outputs = [
            {"input": str(image.source), **_output_document(output)} for image in self.done for output in image.outputs
        ]
        document: dict[str, Any] = {"outputs": outputs}
        sheets = [str(image.sheet) for image in self.done if image.sheet]
        if sheets:
            document["sheets"] = sheets
        if self.failed:
            failures = [{"input": str(failure.source), **error_document(failure.error)} for failure in self.failed]
            document["failures"] = failures
            document["error"] = error_document(self.failed[0].error)
        return document


def _output_document(output: Written) -> dict[str, Any]:
    filtered = output.filtered
    height, width, channels = filtered.picture.pixels.shape
    return {
        "output": str(output.path),
        "kernel": filtered.kernel.label,
        "matrix": _matrix_document(filtered.kernel),
        "rank": _rank(filtered.kernel),
        "offset": filtered.kernel.offset,
        "flip": filtered.flip,
        "width": width,
        "height": height,
        "channels": channels,
        "pad": filtered.pad,
        "stride": filtered.stride,
        "response": filtered.response,
        "min": filtered.low,
        "max": filtered.high,
        "seconds": output.seconds,
    }


def _matrix_document(kernel: Kernel) -> Any:
    """The weights with the scale multiplied in; a list of matrices where there are several, null for max-pooling."""
    if kernel.kind == "max":
        return None
    matrices = [weights.tolist() for weights in kernel.weights]
    return matrices[0] if kernel.kind == "linear" else matrices


def _rank(kernel: Kernel) -> int | None:
    """The matrix's rank, the largest of several; null for max-pooling."""
    return None if kernel.kind == "max" else max(decompose(matrix).rank for matrix in kernel.matrices)


def _short(value: float) -> str:
    return f"{value:.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.1f}"


def show_kernels(output: Output) -> None:
    """The table of named kernels; with `--json` its numbers."""
    rows = [(row, named_kernel(row.name, {})) for row in KERNELS.values()]
    if output.json:
        output.result({"kernels": [_kernel_document(row, kernel) for row, kernel in rows]})
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for name in ("kernel", "matrix", "shows", "options and defaults", "source"):
        table.add_column(name, overflow="fold")
    for row, kernel in rows:
        options = "\n".join(
            f"{key}={'auto' if value is None else str(value).lower()}" for key, value in row.options.items()
        )
        table.add_row(*map(Text, (row.name, _drawn(kernel), row.shows, options, row.source)))
    output.say(table)


def _drawn(kernel: Kernel) -> str:
    height, width = kernel.size
    if kernel.kind == "magnitude":
        return "two matrices"
    if max(height, width) > 5 or any(value != round(value) for value in kernel.matrices[0].ravel()):
        return f"{height}×{width}"
    matrix = kernel.matrices[0]
    digits = max(len(f"{value:.0f}") for value in matrix.ravel())
    text = "\n".join(" ".join(f"{value:>{digits}.0f}" for value in line) for line in matrix)
    return text if kernel.scale == 1 else f"{text}\n/ {round(1 / kernel.scale)}"


def _kernel_document(row: NamedKernel, kernel: Kernel) -> dict[str, Any]:
    return {
        "name": row.name,
        "shows": row.shows,
        "source": row.source,
        "options": dict(row.options),
        "kind": kernel.kind,
        "matrix": _matrix_document(kernel),
        "sum": None if kernel.kind in ("max", "magnitude") else float(kernel.weights[0].sum()),
        "rank": _rank(kernel),
        "stride": kernel.stride,
    }
