"""Numbers as a report writes them."""

import math


def percent(share: float | None) -> str:
    """An accuracy in %; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.2f} %"


def loss(value: float | None, *, signed: bool = False) -> str:
    """A loss or a difference of losses."""
    if value is None or not math.isfinite(value):
        return "–" if value is None else "not finite"
    plus = "+" if signed else ""
    return f"{value:{plus}.4f}" if abs(value) < 1000 else f"{value:{plus}.3g}"


def p_value(p: float | None) -> str:
    """A p-value with three decimals; a dash where the test was not made."""
    if p is None or math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def big(number: int) -> str:
    """A large count with its unit: 41.2 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss; short ones with a decimal."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
