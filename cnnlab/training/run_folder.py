"""The run folder: its name, its files, and how a run is found again. Free of torch.

recipe.yaml  environment.json  metrics.jsonl  metrics.csv  curves.png  result.json
gradients.jsonl  gradients.png  checkpoints/{best,last}.{safetensors,json}
"""

import csv
import io
import itertools
import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cnnlab.errors import CheckpointError, MachineError, UsageError
from cnnlab.files import is_file, is_folder, sync_folder, temporary_beside, write_atomically, writing
from cnnlab.reading import read_up_to
from cnnlab.text import LONGEST_NAME, as_written, command_path, cut, did_you_mean, name_part, nearest, printable
from cnnlab.training.torchrun import resume_command

MAX_JSON_BYTES = 12_000_000
"""Of one document: Python may need fifty times as much to hold it."""
MAX_LINES_BYTES = 50_000_000
_MAX_LINE_BYTES = 100_000
LIMITS = {"seconds": 1e9, "images_per_s": 1e12}
"""Figures that are added up or divided by: not negative, and below these."""
LAST = "last"
"""What names the newest run wherever a run is named."""
_SHOWN_RUNS = 5
"""Runs that an error names."""
_WINDOWS_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789¹²³")}
)


@dataclass(frozen=True)
class EpochRow:
    """One row of metrics. Losses are means over images, accuracies in [0, 1], seconds wall-clock of this epoch."""

    epoch: int
    objective: float
    """Mean of what was optimised, augmentation, smoothing and all."""
    train_loss: float
    train_acc: float
    val_loss: float | None
    val_acc: float | None
    lr: float
    """Learning rate of the epoch's last step."""
    images_per_s: float
    """Training images per second, evaluation not counted."""
    seconds: float


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def environment(self) -> Path:
        """Versions, device, data fingerprint, command line."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line and epoch."""
        return self.path / "metrics.jsonl"

    @property
    def gradients(self) -> Path:
        """One JSON object a line: epoch, layer, RMS of δ and of ∂J/∂w."""
        return self.path / "gradients.jsonl"

    @property
    def result(self) -> Path:
        """Written last: a run that has it is finished."""
        return self.path / "result.json"

    @property
    def is_begun(self) -> bool:
        """Whether there is a run."""
        return is_file(self.recipe)

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end."""
        return is_file(self.result)

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def rows(self) -> list[EpochRow]:
        """The metrics so far, up to the first line that is not the next epoch's: a power cut leaves half a line."""
        documents = read_lines(self.metrics, {field.name for field in fields(EpochRow)})
        numbered = itertools.takewhile(lambda row: _is_row(*row), enumerate(documents, 1))
        return [EpochRow(**row) for _, row in numbered]

    def write_rows(self, rows: Sequence[EpochRow]) -> None:
        """Write metrics.jsonl and metrics.csv anew, each atomically."""
        documents = [asdict(row) for row in rows]
        write_atomically(self.metrics, "".join(json.dumps(document) + "\n" for document in documents))
        table = io.StringIO()
        writer = csv.DictWriter(table, [field.name for field in fields(EpochRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(documents)
        write_atomically(self.metrics.with_suffix(".csv"), table.getvalue())


def best_of(rows: Sequence[EpochRow]) -> EpochRow | None:
    """The epoch of the highest validation accuracy; None where none was measured.

    Of several the one with the lowest validation loss, since small sets tie often; then the first.
    """
    known = [row for row in rows if row.val_acc is not None]
    return max(known, key=lambda row: (row.val_acc, -(row.val_loss or 0.0)), default=None)


def _is_row(epoch: int, document: Mapping[str, Any]) -> bool:
    """Whether the values are what a training writes for this epoch: its number, numbers, null for no validation."""
    none = {"val_loss", "val_acc"}
    whole = type(document["epoch"]) is int and document["epoch"] == epoch
    numbers = all(is_number(value) or (value is None and key in none) for key, value in document.items())
    return whole and numbers and all(0 <= document[key] < limit for key, limit in LIMITS.items())


def is_number(value: object) -> bool:
    """Whether a value of a JSON document is a number that arithmetic can bear: Python's JSON knows NaN, and no end."""
    return (isinstance(value, float) and math.isfinite(value)) or (type(value) is int and abs(value) < 2**63)


def read_lines(path: Path, keys: set[str]) -> list[dict[str, Any]]:
    """The JSON objects of a .jsonl file that have exactly these keys, up to the first line that has not."""
    documents: list[dict[str, Any]] = []
    if not is_file(path):
        return documents
    content = read_up_to(path, MAX_LINES_BYTES)
    if len(content) > MAX_LINES_BYTES:
        return documents
    for line in io.BytesIO(content):
        if len(line) > _MAX_LINE_BYTES:
            break
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(document, dict) or set(document) != keys:
            break
        documents.append(document)
    return documents


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """A JSON object from a file of at most `limit` bytes.

    Raises:
        CheckpointError: the file is missing, too large, or holds something else, such as NaN or 1e400.
    """
    try:
        content = read_up_to(path, limit)
        if len(content) > limit:
            raise CheckpointError(f"{printable(path)} is larger than any file that cnnlab writes")
        document = json.loads(content.decode(), parse_constant=_finite, parse_float=_finite)
    except FileNotFoundError:
        raise CheckpointError(f"{printable(path)} is missing", hint="The run folder is incomplete") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{printable(path)} cannot be read: {printable(error)}") from None
    if not isinstance(document, dict):
        raise CheckpointError(f"{printable(path)}: expected a JSON object, received a {type(document).__name__}")
    return document


def require_sound(path: Path, sound: Mapping[str, bool], document: Mapping[str, Any], *, or_else: str = "") -> None:
    """Refuse a document of a run in which a key's value is not what a training writes.

    Args:
        path: the document's file.
        sound: for each key, whether its value is.
        or_else: what helps besides copying the run folder again.

    Raises:
        CheckpointError: with the keys and what they are.
    """
    wrong = ", ".join(f"{key} is {as_written(document.get(key))}" for key, good in sound.items() if not good)
    if wrong:
        raise CheckpointError(
            f"{printable(path)} is not what a training wrote: {wrong}",
            hint=f"Copy the run folder again from where it was trained{or_else}",
        )


def _finite(text: str) -> float:
    """The number that a JSON document means: Python's reader takes NaN, Infinity and 1e400, its writer refuses them."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{cut(text)} is not a finite number")
    return value


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object atomically."""
    write_atomically(path, as_json(document))


def as_json(document: Mapping[str, Any]) -> str:
    """A JSON object as it stands in a run's files."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    # What is no Unicode in file names and arguments becomes JSON's own escape: \udcff.
    return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def safe_name(text: str) -> str:
    """`text.name_part`, and not one of the names that Windows keeps for its devices."""
    name = name_part(text, "unnamed")
    return f"_{name}" if name.partition(".")[0].lower() in _WINDOWS_RESERVED else name


def require_name(name: str) -> None:
    """Refuse a folder's name that not every system has, or that is a word of cnnlab's.

    Raises:
        UsageError: with a name that could be used.
    """
    if safe_name(name) != name:
        raise UsageError(
            f"--name {printable(name)!r}: a name that every system and shell takes is made of letters, digits, dots, "
            f"dashes and underscores, at most {LONGEST_NAME} of them, with neither dot nor dash at its ends, and is "
            "none of Windows' devices (con, nul, com1 …)",
            hint=f"Use {safe_name(name)}",
        )
    if name == LAST:
        raise UsageError(f"--name {LAST}: that word means the newest run", hint="Choose another --name")


def create(
    out: Path, name: str | None, files: Mapping[str, bytes | str], *, arch: str, data: str, seed: int
) -> RunFolder:
    """Make a new run folder below `out`, one that no other run has, with these files: all of it or none.

    Raises:
        UsageError: `name` is taken or no file name.
        MachineError: it cannot be made there.
    """
    if name is not None:
        require_name(name)
    stem = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{safe_name(arch)}-{safe_name(data)}-s{seed}"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    begun = temporary_beside(out / stem)
    try:
        with writing(begun):
            begun.mkdir()
            (begun / "checkpoints").mkdir()
        for file, content in files.items():
            write_atomically(begun / file, content)
        return RunFolder(_rename_to_free_name(begun, stem, only=name is not None))
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise


def _rename_to_free_name(begun: Path, stem: str, *, only: bool) -> Path:
    """Rename to `stem`, or with a number behind it unless `only` that will do: a rename takes no folder with files."""
    for attempt in range(1, 1000):
        path = begun.with_name(stem if attempt == 1 else f"{stem}-{attempt}")
        if not os.path.lexists(path):
            try:
                begun.rename(path)
            except OSError as error:
                if not os.path.lexists(path):  # otherwise another run has just taken the name
                    with writing(path):
                        raise error
            else:
                return _kept(path, begun)
        if only:
            there = RunFolder(path)
            unfinished = there.is_begun and not there.is_finished
            go_on = f", or go on with it: {resume_command(path)}" if unfinished else ""
            raise UsageError(
                f"{printable(path)} exists already; a run folder is never shared", hint=f"Choose another --name{go_on}"
            )
    raise MachineError(f"no free name for a run in {printable(begun.parent)}")


def _kept(path: Path, begun: Path) -> Path:
    """The run folder under its name, for good; under the old one again where the disk will not have it."""
    try:
        with writing(path):
            sync_folder(path.parent)
    except MachineError:
        path.rename(begun)
        raise
    return path


def list_runs(out: Path) -> list[RunFolder]:
    """The runs below `out`, oldest first; what is locked is none.

    Raises:
        MachineError: `out` itself cannot be read.
    """
    if not is_folder(out):
        return []
    try:
        paths = list(out.iterdir())
    except OSError as error:
        raise MachineError(f"cannot read {printable(out)}: {error.strerror}") from error
    runs = [RunFolder(path) for path in paths if path.name[0] != "." and is_file(path / "recipe.yaml")]
    return sorted(runs, key=lambda run: (run.recipe.stat().st_mtime_ns, run.path.name))


def find_run(text: str, out: Path = Path("runs")) -> Path:
    """The run folder that RUN means: a folder, a unique prefix of a run's name below `out`, or `last`.

    Raises:
        UsageError: there is none, or several begin like that.
    """
    if text and is_file(Path(text) / "recipe.yaml"):
        return Path(text)
    runs = list_runs(out)
    names = [run.path.name for run in runs]
    if text == LAST:
        if runs:
            return runs[-1].path
        raise UsageError(f"there is no run in {printable(out)} yet", hint="Make one: cnnlab train --arch cnn")
    matches = [name for name in names if name.startswith(text)] if text else []
    if text in names:
        matches = [text]
    if len(matches) == 1:
        return out / matches[0]
    if matches:
        raise UsageError(
            f"{printable(text)!r} begins the names of {len(matches)} runs in {printable(out)}",
            hint=f"Write more of it: {_first(matches)}",
        )
    for folder in (Path(text), out / text) if text else ():
        if is_folder(folder):
            inner = [run.path for run in list_runs(folder / "runs")]
            hint = f"It is a comparison's; its runs: {_first(inner)}" if inner else None
            raise UsageError(f"{printable(folder)} is not a run folder: it has no recipe.yaml", hint=hint)
    raise UsageError(f"no run {printable(text)!r} in {printable(out)}", hint=_other_runs(text, names, out))


def _other_runs(text: str, names: list[str], out: Path) -> str:
    """A hint: runs with a name like that, else the newest of many. `names`: the oldest first."""
    if not names:
        return "Make one: cnnlab train --arch cnn"
    if len(names) <= _SHOWN_RUNS or nearest(text, names):
        return did_you_mean(printable(text), map(printable, names))
    place = "" if out == Path("runs") else f" --out {command_path(out)}"
    return f"The newest: {_first(names[::-1])}; all of them: cnnlab evaluate{place}"


def _first(names: Sequence[object]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - _SHOWN_RUNS:,} more" if len(names) > _SHOWN_RUNS else ""
    return ", ".join(map(printable, names[:_SHOWN_RUNS])) + more
