"""`cnnlab train --list`: architectures with their options, recipes, data sets."""

import itertools
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from cnnlab.cli.render.console import Output
from cnnlab.data.standard import DATASETS
from cnnlab.models import ARCHITECTURES
from cnnlab.models.registry import TORCHVISION, USER, Architecture
from cnnlab.recipe.load import resolve, shipped
from cnnlab.recipe.spec import parse_spec


def catalogue() -> dict[str, Any]:
    """Everything that may be named on the command line."""
    return {
        "architectures": [
            {
                "name": architecture.name,
                "summary": architecture.summary,
                "options": _options(architecture),
            }
            for architecture in (*ARCHITECTURES.values(), TORCHVISION, USER)
        ],
        "recipes": [{"name": name, "summary": _first_paragraph(path)} for name, path in shipped().items()],
        "data": [{"name": name, "summary": summary} for name, summary in DATASETS.items()],
    }


def _options(architecture: Architecture) -> dict[str, Any]:
    """Its options, at what they are where its name alone is typed: in its own recipe, where one is shipped."""
    if architecture.name in shipped():
        options = resolve(arch=parse_spec(architecture.name)).model.model_dump()
    else:
        fields = architecture.options.model_fields
        options = {key: None if field.is_required() else field.get_default() for key, field in fields.items()}
    return {key: value for key, value in options.items() if key != "arch"}


def render_catalogue(output: Output, entries: dict[str, Any]) -> None:
    """Three tables."""
    for title, rows in entries.items():
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False
        )
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(overflow="fold")
        for row in rows:
            options = ", ".join(
                key if value is None else f"{key}={str(value).lower()}" for key, value in row.get("options", {}).items()
            )
            table.add_row(Text(row["name"]), Text(row["summary"] + (f"\n{options}" if options else "")))
        output.say(table, "")


def _first_paragraph(path: Path) -> str:
    """Of the comment that a recipe begins with."""
    lines = itertools.takewhile(lambda line: line.startswith("# "), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line[2:] for line in lines)
