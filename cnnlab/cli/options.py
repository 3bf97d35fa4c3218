"""The flags that mean the same in every command."""

from pathlib import Path
from typing import Annotated

import typer

from cnnlab.choices import DeviceName, EngineName
from cnnlab.choices import Precision as PrecisionName

_RECIPE = "Recipe"
_DATA = "Data"
_RUN = "Run"
_OUTPUT = "Output"

Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON document on stdout; all talk goes to stderr.", rich_help_panel=_OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what failed.", rich_help_panel=_OUTPUT)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more; show a traceback on errors.", rich_help_panel=_OUTPUT)
]

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any recipe key: train.epochs=5.", rich_help_panel=_RECIPE),
]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs.", rich_help_panel=_RECIPE)]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", help="Images per step.", rich_help_panel=_RECIPE)
]
Lr = Annotated[float | None, typer.Option("--lr", metavar="X", help="Learning rate.", rich_help_panel=_RECIPE)]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Random seed.", rich_help_panel=_RECIPE)]
Precision = Annotated[
    PrecisionName | None, typer.Option("--precision", help="auto: bf16 where it is fast.", rich_help_panel=_RECIPE)
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="CPU threads; default: all cores.", rich_help_panel=_RECIPE)
]
MaxMinutes = Annotated[
    float | None, typer.Option("--max-minutes", metavar="X", help="Time budget.", rich_help_panel=_RECIPE)
]

Data = Annotated[
    str | None,
    typer.Option("--data", metavar="NAME|FOLDER|FILE", help="Data set; see train --list.", rich_help_panel=_DATA),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where data sets lie (./data, CNNLAB_DATA).", rich_help_panel=_DATA),
]
Offline = Annotated[bool, typer.Option("--offline", help="Use no network.", rich_help_panel=_DATA)]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out unreadable pictures.", rich_help_panel=_DATA)]
AllowDuplicates = Annotated[
    bool,
    typer.Option("--allow-duplicates", help="Accept pictures in both train and test.", rich_help_panel=_DATA),
]

Device = Annotated[DeviceName, typer.Option("--device", help="Where to compute.", rich_help_panel=_RUN)]
Engine = Annotated[
    EngineName, typer.Option("--engine", help="numpy: the hand-derived gradients.", rich_help_panel=_RUN)
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Parent folder of runs.", rich_help_panel=_RUN)]
RunName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="The run folder's name.", rich_help_panel=_RUN)
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Let a recipe or run name a Python file.", rich_help_panel=_RUN)
]
