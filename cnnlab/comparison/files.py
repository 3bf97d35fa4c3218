"""The files of a comparison beside its pictures and its page: comparison.json, .csv, .md and curves.csv."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cnnlab.comparison.result import Comparison
from cnnlab.comparison.tested import Contestant
from cnnlab.files import write_atomically
from cnnlab.text import counted, with_stand_in
from cnnlab.training.run_folder import write_json

_COLUMNS = (
    "name", "arch", "weight_layers", "parameters", "macs", "matched", "match_left", "best_epoch", "train_loss",
    "val_loss", "gap", "train_acc", "val_acc", "test_acc_mean", "test_acc_std", "p_chance", "seconds", "images_per_s",
)  # fmt: skip
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What the cells begin with that spreadsheets compute."""


def write_files(comparison: Comparison) -> None:
    """Write the comparison's figures and files; comparison.json last, so that whoever finds it finds the others.

    Raises:
        MachineError: they cannot be written there.
    """
    from cnnlab.comparison.page import write_page
    from cnnlab.comparison.pictures import draw_pictures

    documents = [contestant.document() for contestant in comparison.contestants]
    write_atomically(comparison.folder / "curves.csv", _csv(_curves(comparison)))
    write_atomically(
        comparison.folder / "comparison.csv", _csv([{key: one[key] for key in _COLUMNS} for one in documents])
    )
    write_atomically(comparison.folder / "comparison.md", as_markdown(comparison))
    draw_pictures(comparison)
    write_page(comparison)
    write_json(comparison.folder / "comparison.json", comparison.document())


def _curves(comparison: Comparison) -> Iterable[Mapping[str, Any]]:
    for contestant in comparison.contestants:
        for run in contestant.runs:
            for row in run.rows:
                yield {"contestant": contestant.name, "seed": run.seed, **row}


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _no_formula(value) for key, value in row.items()} for row in rows)
    return table.getvalue()


def _no_formula(value: Any) -> Any:
    """Text that spreadsheets would compute, behind an apostrophe (OWASP, CSV Injection); numbers stay what they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def as_markdown(comparison: Comparison) -> str:
    """The answer, the table and the verdicts, for a report written elsewhere."""
    tested = comparison.tested_heading
    headings = ("net", "weight layers", "parameters", "multiply-adds", tested, "train", "val", "test", "seconds",
                "images/s")  # fmt: skip
    on = with_stand_in(comparison.data, comparison.data_requested, comparison.fallback)
    parts = ", ".join(f"{count:,} {part}" for part, count in comparison.images.items() if count)
    seeds = ", ".join(map(str, comparison.seeds))
    lines = [
        f"**{_text(comparison.answer)}.**",
        "",
        f"{_text(on)}: {parts} images; at most {counted(comparison.epochs, 'epoch')}; seeds: {seeds}.",
        "",
        "| " + " | ".join(headings) + " |",
        "| --- |" + " ---: |" * (len(headings) - 1),
        *("| " + " | ".join(_cells(contestant)) + " |" for contestant in comparison.contestants),
        "",
        f"Accuracies in %, at {_text(comparison.tested_epoch)}; mean ± standard deviation over seeds.",
        "",
        *(f"- {_text(test.verdict)}." for test in comparison.tests),
        *(f"- {_text(contestant.name)} is not shown to be better than guessing ({100 * comparison.chance:.1f} %)."
          for contestant in comparison.contestants if not contestant.beats_chance),
        *(f"- Note: {_text(notice)}." for notice in comparison.notices),
        "",
        "```",
        comparison.command,
        "```",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _cells(contestant: Contestant) -> list[str]:
    spread = "" if contestant.test_acc_std is None else f" ± {100 * contestant.test_acc_std:.2f}"
    val = "–" if contestant.val_acc is None else f"{100 * contestant.val_acc:.2f}"
    return [
        _text(contestant.name),
        f"{contestant.weight_layers}",
        f"{contestant.parameters:,}",
        f"{contestant.macs:,}",
        f"{contestant.best_epoch:g}",
        f"{100 * contestant.train_acc:.2f}",
        val,
        f"{100 * contestant.test_acc_mean:.2f}{spread}",
        f"{contestant.seconds:.1f}",
        f"{contestant.images_per_s:,.0f}",
    ]


def _text(text: str) -> str:
    """Text that Markdown takes literally."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text)
