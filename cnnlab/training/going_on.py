"""Going on with a run: the newest whole checkpoint, and whether recipe, data and machine are still the run's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnlab.data import DataSet
from cnnlab.errors import CheckpointError
from cnnlab.recipe.load import flat
from cnnlab.recipe.schema import Recipe
from cnnlab.text import as_written, cut, printable
from cnnlab.training import checkpoint
from cnnlab.training.environment import made_with
from cnnlab.training.events import Notice, Tell
from cnnlab.training.prepare import Prepared
from cnnlab.training.profiling import PHASES
from cnnlab.training.run_folder import LIMITS, RunFolder, is_number, read_json, require_sound
from cnnlab.training.saving import Midway, Progress, portable

_MAY_DIFFER = {"data.name", "threads"}
"""Keys that do not say what is learnt: data are told by their fingerprint, threads by what the run was made with."""
_MISSING = "(not there)"
_SHOWN = 20
"""Differences that a refusal lists."""
_LONGEST_SECONDS = 1e9
"""Of one epoch: thirty years."""


def environment_of(folder: RunFolder) -> dict[str, Any]:
    """environment.json, as far as going on needs it, checked.

    Raises:
        CheckpointError: missing, or not what a training wrote.
    """
    environment = read_json(folder.environment)
    data = environment.get("data", {})
    sound = {
        "engine": environment.get("engine", "torch") in ("torch", "numpy"),
        "gradients": isinstance(environment.get("gradients", False), bool),
        "test": isinstance(environment.get("test", True), bool),
        "init_from": environment.get("init_from") is None or _is_source(environment["init_from"]),
        "data": isinstance(data, dict)
        and isinstance(data.get("requested", ""), str)
        and isinstance(data.get("fallback", False), bool)
        and all(isinstance(count, int) for count in _values(data.get("images"))),
    }
    require_sound(folder.environment, sound, environment)
    return environment


def _is_source(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("run", "sha256"))


def result_of(folder: RunFolder) -> dict[str, Any]:
    """result.json of a finished run, as far as it is shown, checked.

    Raises:
        CheckpointError: missing, or not what a training wrote.
    """
    result = read_json(folder.result)
    texts = ("arch", "data", "data_requested", "device", "precision")
    best_epoch, epochs = result.get("best_epoch"), result.get("epochs")
    sound = {
        "epochs": type(epochs) is int and is_number(epochs),
        "best_epoch": type(best_epoch) is int and type(epochs) is int and 1 <= best_epoch <= epochs,
        **{key: _is_within(result.get(key), limit) for key, limit in LIMITS.items()},
        "train_acc": _is_within(result.get("train_acc"), 1),
        **{key: key in result and _is_null_or_within(result[key], 1) for key in ("test_acc", "val_acc")},
        **{key: isinstance(result.get(key), str) for key in texts},
        "profile": "profile" not in result or _is_profile(result["profile"]),
        "fallback": isinstance(result.get("fallback"), bool),
    }
    require_sound(folder.result, sound, result, or_else=", or remove that file to have it written again")
    return {**result, **{key: printable(result[key]) for key in texts}}


def _is_within(value: Any, limit: float) -> bool:
    return is_number(value) and 0 <= value <= limit


def _is_null_or_within(value: Any, limit: float) -> bool:
    return value is None or _is_within(value, limit)


def _is_profile(value: Any) -> bool:
    """Whether it is what `profiling.Profile.document` writes."""
    seconds = LIMITS["seconds"]
    return (
        isinstance(value, dict)
        and _is_within(value.get("seconds"), seconds)
        and is_number(value.get("steps"))
        and isinstance(value.get("phases"), list)
        and all(
            isinstance(phase, dict)
            and phase.get("name") in (*PHASES, "other")
            and _is_within(phase.get("seconds"), seconds)
            and _is_within(phase.get("share"), 1)
            and "ms_per_step" in phase
            and _is_null_or_within(phase["ms_per_step"], 1e3 * seconds)
            for phase in value["phases"]
        )
    )


def _shown(value: Any) -> str:
    return cut(value) if isinstance(value, str) else as_written(value)


def _values(document: Any) -> list[Any]:
    return list(document.values()) if isinstance(document, dict) else []


def newest(folder: RunFolder, tell: Tell) -> checkpoint.Checkpoint | None:
    """The newest whole checkpoint that the metrics reach to; None where the run had not saved one yet.

    Raises:
        CheckpointError: there were checkpoints, and none is whole.
    """
    rows = len(folder.rows())
    if not checkpoint.any_saved(folder.checkpoints):
        if rows > 1:
            raise CheckpointError(
                f"{printable(folder.path)} has {rows} epochs and no checkpoint", hint="Start a new run"
            )
        tell(Notice("the run had not saved an epoch yet: it starts again"))
        return None
    found, problems = checkpoint.load_newest(folder.checkpoints, rows)
    for problem in problems:
        tell(Notice(f"{problem}; going on from the checkpoint before it, {_where(found.meta)}"))
    return found


def require_same_training(recipe: Recipe, fingerprint: str | None, saved: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that another training saved, or whose run's recipe was changed since.

    Args:
        recipe: the run's.
        fingerprint: of the run's data; None where it is not known.
        saved: the checkpoint's manifest.

    Raises:
        CheckpointError: they differ; with the keys and both values.
    """
    if fingerprint is not None and saved.get("data_fingerprint") != fingerprint:
        raise CheckpointError(
            f"the checkpoint was saved with other data than the run's: their fingerprint is {fingerprint[:12]}…, "
            f"the checkpoint's {as_written(saved.get('data_fingerprint'))[:14]}…",
            hint="Put the run's own checkpoints back in place, or start a new run",
        )
    if "recipe" not in saved:  # the first format did not hold it
        return
    differing = differences(recipe, saved["recipe"] or {}, "the checkpoint's")
    if differing:
        raise CheckpointError(
            "the checkpoint was saved with another recipe than the run's recipe.yaml:\n" + "\n".join(differing),
            hint="Undo the change, or start a new run from the weights: --recipe FILE --init-from RUN",
        )


def differences(recipe: Recipe, other: Mapping[str, Any], whose: str) -> list[str]:
    """In which keys a recipe differs from another, as `portable` gives it: the first few, each with both values.

    The name of the data and the number of threads may differ: a run folder moves from machine to machine.
    """
    now, before = flat(portable(recipe)), flat(other)
    differing = [
        f"{cut(key)}: {_shown(now.get(key, _MISSING))}, {whose} {_shown(before.get(key, _MISSING))}"
        for key in sorted({**now, **before})
        if key not in _MAY_DIFFER and now.get(key, _MISSING) != before.get(key, _MISSING)
    ]
    return differing[:_SHOWN] + ["…"] * (len(differing) > _SHOWN)


def shares_images(prepared: Prepared, saved: Mapping[str, Any]) -> bool:
    """Whether weights of the same data, but of another validation part, were saved with the manifest `saved`."""
    before, now = saved.get("recipe"), prepared.recipe  # the first format did not hold it
    if not before or saved.get("data_fingerprint") != prepared.data.fingerprint:
        return False
    if prepared.val is None or prepared.data.val:
        return False
    data = before.get("data", {})
    split = (data.get("val_fraction"), before.get("seed") if data.get("split_seed") is None else data["split_seed"])
    return split != (now.data.val_fraction, now.split_seed)


def require_same_data(data: DataSet, saved: Mapping[str, Any]) -> None:
    """Refuse data that are not the run's.

    Args:
        data: what was loaded now.
        saved: `data` of the run's environment.json.

    Raises:
        CheckpointError: they differ.
    """
    if saved.get("fingerprint") == data.fingerprint:
        return
    parts = (("train", data.train), ("val", data.val), ("test", data.test))
    now = {
        "name": data.name,
        "classes": list(data.classes),
        "image_shape": list(data.image_shape),
        "images": sum(len(part) for _, part in parts if part is not None),
    }
    images = saved.get("images")
    before = {**saved, "images": sum(images.values()) if isinstance(images, dict) else images}
    differing = [
        f"{key}: {_shown(value)}, the run's {_shown(before.get(key))}"
        for key, value in now.items()
        if value != before.get(key)
    ]
    if not differing:
        differing = ["the same number of images and classes, other content"]
    raise CheckpointError(
        "the data are not those of the run:\n"
        + "\n".join(differing)
        + f"\nfingerprint: {data.fingerprint[:12]}…, the run's {printable(str(saved.get('fingerprint'))[:12])}…",
        hint="Put the run's own data back in place, or start a new run",
    )


def tell_differences(prepared: Prepared, saved: Mapping[str, Any], tell: Tell) -> None:
    """Say what a run was made with that is otherwise now: it goes on, but not bit for bit."""
    before = saved.get("made_with") or {}
    for key, value in made_with(prepared).items():
        if key in before and before[key] != value:
            hint = f"; --threads {_shown(before[key])} would be exact" if key == "threads" else ""
            tell(
                Notice(
                    f"{key} is {_shown(value)}, the run's was {_shown(before[key])}: "
                    f"it goes on, but does not end bit for bit like a run that was never stopped{hint}"
                )
            )


def take_up(folder: RunFolder, prepared: Prepared, found: checkpoint.Checkpoint, tell: Tell) -> Progress:
    """Put a checkpoint into the engine, and the run folder back to where that was saved.

    Raises:
        CheckpointError: it belongs to another net, or the weights of its best epoch are lost.
    """
    epoch, best_epoch = found.meta.get("epoch"), found.meta.get("best_epoch")
    rows = folder.rows()
    if not isinstance(epoch, int) or not isinstance(best_epoch, int) or not 0 <= best_epoch <= epoch <= len(rows):
        raise CheckpointError(f"the checkpoint and the metrics of {printable(folder.path)} do not fit together")
    prepared.engine.load_training_state(found.tensors)
    data = prepared.data.fingerprint
    midway = _midway(found.meta.get("midway"), folder.path, prepared.steps_per_epoch)
    best = None
    if best_epoch:
        try:
            best = checkpoint.load_best(
                folder.checkpoints, best_epoch, lambda meta: require_same_training(prepared.recipe, data, meta)
            )
        except CheckpointError as error:
            if best_epoch != epoch or midway.steps:
                raise
            tell(Notice(f"{error.message}; the best is this very epoch, and is written again"))
    if prepared.world.first:
        checkpoint.settle(folder.checkpoints, found, best)
    if best is not None or not best_epoch:
        weights = {} if best is None else best.tensors
    else:
        weights = prepared.engine.weights()
        if prepared.world.first:
            _write_best_anew(folder, found, weights)
    return Progress(rows[:epoch], best_epoch, weights, midway)


def _write_best_anew(folder: RunFolder, last: checkpoint.Checkpoint, weights: Mapping[str, Any]) -> None:
    """Save `best` as it was saved once, from the state of the same epoch."""
    only_last = {"sha256", "bytes", "manifest_sha256", "best_epoch"}
    checkpoint.remove(folder.checkpoints, "best")  # so that what is damaged does not become the spare
    meta = {key: value for key, value in last.meta.items() if key not in only_last}
    checkpoint.save(folder.checkpoints, "best", weights, meta)


def _midway(saved: Any, run: Path, steps_per_epoch: int) -> Midway:
    if saved is None:
        return Midway()
    steps, sums = saved.get("steps"), [saved.get("objective"), saved.get("seconds")]
    sound = type(steps) is int and 1 <= steps <= steps_per_epoch and all(map(is_number, sums))
    if not sound or not 0 < sums[1] < _LONGEST_SECONDS:
        raise CheckpointError(f"the checkpoint of {printable(run)} does not say how far its epoch was")
    return Midway(steps, float(sums[0]), float(sums[1]))


def _where(meta: Mapping[str, Any]) -> str:
    midway = meta.get("midway")
    return f"epoch {meta['epoch'] + 1}, step {as_written(midway.get('steps'))}" if midway else f"epoch {meta['epoch']}"
