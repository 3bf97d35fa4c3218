"""`cnnlab train --list`: architectures with their options, recipes, data sets."""

from typing import Any

from rich.table import Table
from rich.text import Text

from cnnlab.cli.render.console import Output
from cnnlab.data.standard import DATASETS
from cnnlab.models import ARCHITECTURES
from cnnlab.models.registry import TORCHVISION, USER
from cnnlab.recipe.load import shipped


def catalogue() -> dict[str, Any]:
    """Everything that may be named on the command line."""
    return {
        "architectures": [
            {
                "name": architecture.name,
                "summary": architecture.summary,
                "options": {
                    key: field.get_default() if not field.is_required() else None
                    for key, field in architecture.options.model_fields.items()
                    if key != "arch"
                },
            }
            for architecture in (*ARCHITECTURES.values(), TORCHVISION, USER)
        ],
        "recipes": [{"name": name, "summary": _first_comment(path)} for name, path in shipped().items()],
        "data": [{"name": name, "summary": summary} for name, summary in DATASETS.items()],
    }


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


def _first_comment(path: Any) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
