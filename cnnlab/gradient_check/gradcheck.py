"""Everything that `cnnlab gradcheck` does, in one call."""

from collections.abc import Callable, Sequence

from cnnlab.errors import UsageError
from cnnlab.gradient_check.check import check_layer, known_layers
from cnnlab.gradient_check.planting import check_with, judge, known_bugs
from cnnlab.gradient_check.verdicts import Check, Report
from cnnlab.models.registry import is_user_file
from cnnlab.recipe.spec import parse_spec


def gradcheck(
    layers: str | Sequence[str] = (),
    *,
    arch: str | None = None,
    inject_bug: str | None = None,
    seed: int = 0,
    trust_code: bool = False,
    tell: Callable[[Check], None] | None = None,
) -> Report:
    """Prove the hand-derived gradients of layers, of a whole net, or of a user's own layer.

    Args:
        layers: a layer's name or several (all where none is given), or `FILE.py:Class[:key=value,…]` of a user's own,
            whose file is run.
        arch: the spec of a whole net; then layers are checked only where they are named.
        inject_bug: the name of a bug to plant, or `all`; then nothing else is checked.
        seed: of weights, inputs and upstream gradients; at least 0.
        trust_code: whether a recipe that `arch` names may name a Python file, whose code then runs.
        tell: receives each check as soon as it is made.

    Raises:
        UsageError: an unknown layer, bug or net, or a combination that makes no sense.
        DataError: a user's file fails when it is run.
    """
    layers = [layers] if isinstance(layers, str) else layers
    if seed < 0:
        raise UsageError(f"--seed must be at least 0, received {seed}")
    report = Report()
    if inject_bug is not None:
        if layers or arch is not None:
            raise UsageError("--inject-bug names its layer itself", hint="Leave the layers and --arch out")
        for bug in known_bugs(inject_bug):
            checks = list(check_with(bug, seed, to_the_end=inject_bug != "all"))
            report.checks += checks
            report.bugs.append(judge(bug, checks))
        return report
    add = report.checks.append if tell is None else _both(report.checks.append, tell)
    own = [name for name in layers if is_user_file(parse_spec(name).name)]
    named = [name for name in layers if name not in own]
    chosen = known_layers(named) if named or not (own or arch) else []
    for layer in chosen:
        for check in check_layer(layer, seed):
            add(check)
    for name in own:
        _check_own(name, seed, report, add)
    if arch is not None:
        _check_net(arch, seed, add, trust_code=trust_code)
    return report


def _check_own(name: str, seed: int, report: Report, add: Callable[[Check], None]) -> None:
    from cnnlab.gradient_check.user_layer import check_user_layer, load

    found = check_user_layer(load(parse_spec(name)), seed)
    for check in found.checks:
        add(check)
    report.matches += found.matches
    report.skipped += found.skipped


def _check_net(arch: str, seed: int, add: Callable[[Check], None], *, trust_code: bool) -> None:
    from cnnlab.gradient_check.whole_net import check_net
    from cnnlab.recipe.load import resolve

    spec = parse_spec(arch)
    for check in check_net(resolve(arch=spec, trust_code=trust_code).model, spec.label or arch, seed):
        add(check)


def _both(first: Callable[[Check], None], second: Callable[[Check], None]) -> Callable[[Check], None]:
    def tell(check: Check) -> None:
        first(check)
        second(check)

    return tell
