"""`cnnlab.train`: the command as a function."""

from collections.abc import Iterable
from dataclasses import replace
from inspect import signature
from typing import Any

from cnnlab.recipe.load import resolve, short_flags
from cnnlab.recipe.spec import parse_spec
from cnnlab.training.events import RunFinished, Tell, tell_nobody
from cnnlab.training.loop import resume as resume_run
from cnnlab.training.loop import train as run
from cnnlab.training.run_folder import find_run
from cnnlab.training.settings import Settings, require_alone


def train(
    arch: str | None = None,
    *,
    recipe: str | None = None,
    set: Iterable[str] = (),  # the flag's name
    data: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    precision: str | None = None,
    threads: int | None = None,
    max_minutes: float | None = None,
    skip_bad: bool = False,
    allow_duplicates: bool = False,
    resume: str | None = None,
    tell: Tell = tell_nobody,
    trust_code: bool = False,
    **settings: Any,
) -> RunFinished:
    """Train a net as `cnnlab train` does.

    Args:
        arch: the spec (`"cnn:width=64"`); without it and without `recipe`, `cnn`.
        recipe: a shipped recipe's name or a file.
        set: `"section.key=value"` strings.
        data, epochs, batch_size, lr, seed, precision, threads, max_minutes, skip_bad, allow_duplicates: the short
            flags.
        resume: a run to go on with, instead of all of the above but `threads`.
        tell: receives the events of `cnnlab.training.events`.
        settings: fields of `cnnlab.training.settings.Settings`: out, name, device, engine, gradients, …

    Returns:
        The end of the run: `run` (its folder), `result` (as in result.json), `rows` (the metrics).

    Raises:
        CnnlabError: as the command fails; `exit_code` says with which code.
    """
    flags = short_flags(
        data=data,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        precision=precision,
        threads=threads,
        max_minutes=max_minutes,
        skip_bad=skip_bad,
        allow_duplicates=allow_duplicates,
    )
    chosen, assignments = Settings.of(signature(train).parameters.keys() - {"settings"}, **settings), tuple(set)
    if resume is not None:
        require_alone(chosen, {"--arch": arch, "--recipe": recipe, "--set": assignments, **flags})
        path = find_run(resume, chosen.out)
        return resume_run(path, chosen, tell, trust_code=trust_code, threads=threads, asked=resume)
    if chosen.init_from is not None:
        chosen = replace(chosen, init_from=find_run(str(chosen.init_from), chosen.out))
    spec = parse_spec(arch) if arch is not None else None if recipe else parse_spec("cnn")
    resolved = resolve(arch=spec, recipe=recipe, settings=assignments, flags=flags, trust_code=trust_code)
    return run(resolved, chosen, tell)
