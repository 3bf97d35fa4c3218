"""report.html: the whole comparison on one page that needs nothing but itself."""

import base64
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from cnnlab import numbers
from cnnlab.comparison.page_images import matrices, only_right
from cnnlab.comparison.pairs import PairTest
from cnnlab.comparison.pictures import figures, on_data, svg
from cnnlab.comparison.result import Comparison
from cnnlab.comparison.tested import Contestant
from cnnlab.files import write_atomically
from cnnlab.recipe.load import flat
from cnnlab.report.bands import BAND_WORDS
from cnnlab.report.comparison_figures import colour_of
from cnnlab.text import as_written, counted, cut, printable

TEMPLATE = "report.html.j2"
COLUMNS = (
    "net", "test acc. %", "val acc. %", "train acc. %", "epoch", "val loss", "train loss", "gap", "parameters",
    "multiply-adds", "weight layers", "time", "images/s",
)  # fmt: skip
_LISTED = 80
"""Characters that the names of all nets may take in a heading."""
_LONGEST_VALUE = 60
"""Characters of a recipe's value."""
_RECORDED = ("cnnlab", "python", "packages", "platform", "processor", "engine", "device", "device_name", "precision",
             "threads", "processes", "git_commit", "init_from", "started")  # fmt: skip
"""Keys of environment.json that the page shows."""
_PACKAGES_SHOWN, _LONGEST_RECORD = 20, 400
PAIR_COLUMNS = ("a", "b", "a − b, points", "95 % CI", "only a right", "only b right", "McNemar p", "p over seeds",
                "p, Holm", "better")  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A picture of the page: the same in two widths, and in words for those who do not see it."""

    name: str
    caption: str
    alt: str
    wide: Markup
    """A data URI."""
    narrow: Markup


def write_page(comparison: Comparison) -> Path:
    """Write report.html into the comparison's folder.

    Raises:
        MachineError: it cannot be written there.
    """
    path = comparison.folder / "report.html"
    write_atomically(path, render_page(comparison))
    return path


def render_page(comparison: Comparison) -> str:
    """The page as HTML: no script, no address of anything outside it; all text is escaped and printable."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cnnlab.comparison", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_fit_to_show,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template(TEMPLATE).render(contents(comparison))


def contents(comparison: Comparison) -> dict[str, Any]:
    """What the template lays out, by name."""
    names = [contestant.name for contestant in comparison.contestants]
    seeds = len(comparison.seeds)
    groups, note = only_right(comparison)
    return {
        "c": comparison,
        "title": f"{_listed(names)} on {on_data(comparison)}",
        "answer": sentence(comparison.answer),
        "one_seed": seeds == 1,
        "question": _question(comparison, names),
        "settings": _settings(comparison),
        "colours": {name: Markup(colour_of(number)) for number, name in enumerate(names)},  # our own constants
        "figures": _figures(comparison),
        "columns": [comparison.tested_heading if column == "epoch" else column for column in COLUMNS],
        "rows": [_row(contestant, seeds) for contestant in comparison.contestants],
        "matched": [_matched(contestant) for contestant in comparison.contestants if contestant.matched],
        "at_chance": [contestant.name for contestant in comparison.contestants if not contestant.beats_chance],
        "pair_columns": PAIR_COLUMNS,
        "pairs": [_pair(test) for test in comparison.tests],
        "verdicts": [sentence(test.verdict) for test in comparison.tests] if len(comparison.tests) > 1 else [],
        "ci_methods": sorted({test.ci_method for test in comparison.tests}),
        "matrices": matrices(comparison),
        "only_right": groups,
        "only_right_note": note,
        "environment": _environment(comparison.environment),
        "unlike": _unlike(comparison.contestants),
        "recipes": [(contestant.name, contestant.recipe.splitlines()) for contestant in comparison.contestants],
    }


def sentence(text: str) -> str:
    """With a full stop at its end and a capital at its beginning, where that is not a name."""
    text = f"No {text[3:]}" if text.startswith("no difference ") else text
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _breakable(name: str) -> Markup:
    """A name that a narrow column breaks between its options before it breaks a number."""
    return Markup("<wbr>").join(re.split(r"(?<=[,:])", printable(name)))


def _fit_to_show(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)


def _listed(names: Sequence[str]) -> str:
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return listed if len(listed) <= _LISTED else counted(len(names), "net")


def _question(comparison: Comparison, names: Sequence[str]) -> str:
    which = (
        f"Which of {_listed(names)} best classifies" if len(names) > 1 else f"How well does {_listed(names)} classify"
    )
    return (
        f"{which} images of {comparison.data} that it has never seen, and how sure is that? All of them learn from the "
        f"same images, with the same split, the same seeds and at most {counted(comparison.epochs, 'epoch')}."
    )


def _settings(comparison: Comparison) -> list[tuple[str, str]]:
    parts = ", ".join(f"{count:,} {part}" for part, count in comparison.images.items() if count)
    height, width, channels = comparison.test.images.shape[1:]
    seeds = ", ".join(map(str, comparison.seeds))
    settings = [
        ("data", on_data(comparison)),
        ("images", f"{parts}, of {channels}×{height}×{width} in {len(comparison.classes)} classes"),
        ("chance", f"{numbers.percent(comparison.chance)}, by always naming the commonest class"),
        ("epochs", f"at most {comparison.epochs:,}"),
        ("seeds" if len(comparison.seeds) > 1 else "seed", seeds),
        ("choice of weights", _choice(comparison)),
        ("engine", f"{comparison.engine} on {comparison.device}"),
    ]
    if comparison.match:
        what = {"params": "parameters", "macs": "multiply-adds"}[comparison.match]
        settings.append(("matched", f"widths chosen so that {what} agree with those of the first net"))
    return settings


def _choice(comparison: Comparison) -> str:
    why = "" if comparison.images["val"] else " (there is no validation part)"
    return f"those of {comparison.tested_epoch}{why}; only they see the test images, once"


def _unlike(contestants: Sequence[Contestant]) -> list[tuple[str, list[str]]]:
    """The keys in which the recipes differ, with each one's value; a dash where a recipe has no such key."""
    recipes = [flat(yaml.safe_load(contestant.recipe)) for contestant in contestants]
    keys = sorted(dict.fromkeys(key for recipe in recipes for key in recipe), key=lambda key: key.partition(".")[0])
    rows = ((key, [_value(recipe, key) for recipe in recipes]) for key in keys)
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _value(recipe: Mapping[str, Any], key: str) -> str:
    if key not in recipe:
        return "–"
    return cut(recipe[key] if isinstance(recipe[key], str) else as_written(recipe[key]), _LONGEST_VALUE)


def _row(contestant: Contestant, seeds: int) -> dict[str, Any]:
    spread = "" if contestant.test_acc_std is None else f" ± {100 * contestant.test_acc_std:.2f}"
    cells = [
        f"{100 * contestant.test_acc_mean:.2f}{spread}",
        "–" if contestant.val_acc is None else f"{100 * contestant.val_acc:.2f}",
        f"{100 * contestant.train_acc:.2f}",
        f"{contestant.best_epoch:g}" if seeds == 1 else f"{contestant.best_epoch:.1f}",
        numbers.loss(contestant.val_loss),
        numbers.loss(contestant.train_loss),
        numbers.loss(contestant.gap, signed=True),
        f"{contestant.parameters:,}",
        numbers.big(contestant.macs),
        str(contestant.weight_layers),
        numbers.duration(contestant.seconds),
        f"{contestant.images_per_s:,.0f}",
    ]
    return {"name": contestant.name, "cells": cells}


def _matched(contestant: Contestant) -> str:
    left = "" if contestant.match_left is None else f", {100 * contestant.match_left:+.2f} % away from the first net"
    return f"{contestant.name}: {contestant.matched}{left}"


def _pair(test: PairTest) -> dict[str, Any]:
    low, high = 100 * test.ci_low, 100 * test.ci_high
    return {
        "a": test.a,
        "b": test.b,
        "better": {test.a: "a", test.b: "b"}.get(test.better or "", "not shown"),
        "cells": [
            f"{100 * test.difference:+.2f}",
            f"{low:+.2f} to {high:+.2f}",
            f"{test.only_a:,}",
            f"{test.only_b:,}",
            numbers.p_value(test.p_mcnemar),
            numbers.p_value(test.p_seeds),
            numbers.p_value(test.p_adjusted),
        ],
    }


def _figures(comparison: Comparison) -> list[Figure]:
    seeds = len(comparison.seeds)
    band = f" Lines are means over {seeds} seeds, bands {BAND_WORDS[comparison.band]}." if seeds > 1 else ""
    solid = ", validation solid" if comparison.images["val"] else ""
    lines = f"Training is dashed{solid}, the star marks {comparison.tested_epoch}.{band}"
    captions = {
        "loss": f"Loss of all nets. {lines}",
        "accuracy": f"Accuracy of all nets. {lines}",
        "gradients": "Root mean square of δ = ∂J/∂z by layer, on one logarithmic axis: where it shrinks towards "
        f"the first layers, these hardly learn. Seed {comparison.seeds[0]}.",
    }
    return [
        Figure(
            name,
            captions[name],
            _in_words(comparison, name),
            *(_data_uri(svg(comparison, draw, narrow=narrow), "image/svg+xml") for narrow in (False, True)),
        )
        for name, draw in figures(comparison).items()
    ]


def _in_words(comparison: Comparison, name: str) -> str:
    """What a figure shows at the stars, for those who do not see it."""
    names = ", ".join(contestant.name for contestant in comparison.contestants)
    if name == "gradients":
        return f"Size of the gradient by layer, a panel each: {names}."
    part, which = ("val", "Validation") if comparison.images["val"] else ("train", "Training")
    said = []
    for one in comparison.contestants:
        loss, accuracy = getattr(one, f"{part}_loss"), getattr(one, f"{part}_acc")
        said.append(f"{one.name} {numbers.loss(loss) if name == 'loss' else numbers.percent(accuracy)}")
    return f"Curves of {name}. {which} {name} at {comparison.tested_epoch}: {', '.join(said)}."


def _environment(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """The record of a run, which may be a stranger's, as lines of text; what the page says elsewhere is left out."""
    said = {key: environment.get(key) for key in _RECORDED}
    data = environment.get("data")
    said["data fingerprint"] = data.get("fingerprint") if isinstance(data, dict) else None
    lines = []
    for key, value in said.items():
        if isinstance(value, dict):
            first = itertools.islice(value.items(), _PACKAGES_SHOWN)
            value = ", ".join(f"{cut(name)} {cut(version)}" for name, version in first if version is not None)
        if value is not None:
            lines.append((key.replace("_", " "), cut(value, _LONGEST_RECORD)))
    return lines


def _data_uri(content: bytes, kind: str) -> Markup:
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}")
