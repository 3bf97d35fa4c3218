"""Values that need no converting reach a command without pydantic, which Typer imports to convert each one.

That import alone costs `cnnlab filter` half of what Python, NumPy and Pillow take together to load. Where a value is
absent or is text already there is nothing to convert; everything else goes Typer's own way.
"""

from typing import Any

import typer.core

_MISSING = object()


class _PlainValue:
    """Stands where Typer keeps a parameter's converter."""

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as the command receives it."""
        plain = self._as_it_is(value, param.multiple or param.nargs == -1)
        if plain is not _MISSING:
            return plain
        from typer._coercion import build_runtime_param

        return build_runtime_param(self._descriptor).coerce(value, param=param, ctx=ctx)

    def _as_it_is(self, value: Any, several: bool) -> Any:
        annotation = self._descriptor.annotation
        if value is None:
            return () if several else None
        if getattr(self._descriptor.parameter_info, "parser", None) is not None:
            return _MISSING
        if not several and isinstance(annotation, type) and annotation in (str, bool) and type(value) is annotation:
            return value
        if several and annotation == list[str] and isinstance(value, list | tuple):
            return list(value)
        return _MISSING


def spare_needless_conversion() -> None:
    """Let plain values through as they are, in every command.

    It takes the place of a function inside Typer (0.29); where Typer has none such, all values go the slower way.
    """
    if hasattr(typer.core, "build_runtime_param"):
        typer.core.build_runtime_param = _PlainValue  # type: ignore[assignment]
