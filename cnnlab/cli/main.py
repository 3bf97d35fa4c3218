"""The program around the commands: every ending becomes an exit code, every error one short block."""

import contextlib
import errno
import os
import re
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from typer.exceptions import TyperException

from cnnlab.errors import CnnlabError, MachineError, Stopped, UsageError
from cnnlab.text import cut, printable

_STOPPED = 128 + signal.SIGINT
_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_LONGEST_BUG = 1000
"""Characters of an unforeseen error's own words."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cnnlab` with `argv` (the process's own by default) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    _make_streams_safe()
    _keep_libraries_quiet()
    try:
        return _run(arguments)
    except CnnlabError as error:
        return _fail(error, arguments)
    except TyperException as error:
        if not error.message:  # `cnnlab` alone: Typer has shown the help and has nothing to say
            return UsageError.exit_code
        from cnnlab.cli.usage import told

        return _fail(told(error, arguments), arguments)
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # what Typer makes of it
            return _reader_gone()
        raise
    except KeyboardInterrupt:
        stopped = Stopped("stopped by Ctrl-C: what was written is whole", signal_number=signal.SIGINT)
        return _fail(stopped, arguments)
    except OSError as error:
        if error.errno in _FULL and error.filename is None:  # of files, `cnnlab.files` says which it was
            return _output_refused(_FULL[error.errno], arguments)
        return _fail_as_bug(error, arguments)
    except Exception as error:  # noqa: BLE001  # the outermost frame: whatever arrives here is a bug of ours
        return _fail_for_memory(error, arguments) if _is_for_memory(error) else _fail_as_bug(error, arguments)


def _run(arguments: list[str]) -> int:
    from cnnlab.cli.app import app
    from cnnlab.cli.coercion import spare_needless_conversion

    spare_needless_conversion()
    code = app(args=arguments, prog_name="cnnlab", standalone_mode=False)
    sys.stdout.flush()
    if code == _STOPPED:  # what Typer makes of Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _output_refused(reason: str, arguments: Sequence[str]) -> int:
    """The disk behind stdout is full: said on stderr, with `--json` too."""
    error = MachineError(f"cannot write the output: {reason}", hint="Free some space, or send the output elsewhere")
    return _fail(error, [word for word in arguments if word != "--json"])


def _reader_gone() -> int:
    """`| head` has read what it wanted: nothing more can be said to it, and Python must not try at its exit."""
    from cnnlab.cli.signals import abandon_output

    abandon_output()
    return 0


def _keep_libraries_quiet() -> None:
    """What is wrong with a picture, cnnlab says itself; Pillow's warnings about it would stand beside that."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _open_closed_streams() -> None:
    """Let what is said to a stream that was closed before the start (`>&-`) go nowhere.

    Its number too: the next file opened would get it, and a library that writes to stderr would write into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w" if number else "r", encoding="utf-8")  # noqa: SIM115  # open to the end
            setattr(sys, name, nowhere)


def _make_streams_safe() -> None:
    """Let output survive an ASCII or GBK terminal: what it cannot show becomes `?`, never a crash."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _asked(arguments: Sequence[str], long: str, short: str | None = None) -> bool:
    """Whether a flag was typed; needed where parsing itself failed and no command ever ran."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(
        word == long or (short is not None and len(word) > 1 and word[0] == "-" != word[1] and short in word[1:])
        for word in words
    )


def _fail(error: CnnlabError, arguments: Sequence[str]) -> int:
    from cnnlab.cli.render.console import render_error
    from cnnlab.cli.signals import abandon_output
    from cnnlab.training.torchrun import rank, several

    if several() and not _is_for_me_to_tell(error):
        return error.exit_code
    if _asked(arguments, "--verbose", "v"):
        with contextlib.suppress(OSError):
            lines = "".join(traceback.format_exception(error)).split("\n")  # messages in it may quote strangers' files
            sys.stderr.write("\n".join(map(printable, lines)))
    with contextlib.suppress(OSError):  # nobody reads stderr, or stdout with --json; the exit code still tells
        render_error(error, as_json=_asked(arguments, "--json") and not rank())
    abandon_output()
    return error.exit_code


def _is_for_me_to_tell(error: CnnlabError) -> bool:
    """Whether this one of several processes shows an error.

    What they have not agreed on is told late by all but the first: if that has it too, torchrun ends the others.
    """
    from cnnlab.training.processes import TELL_SECONDS
    from cnnlab.training.torchrun import rank

    if rank():
        if error.told_elsewhere or isinstance(error, Stopped):
            return False
        if error.told_elsewhere is None:
            time.sleep(TELL_SECONDS)
            error.message = f"process {rank()}: {error.message}"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, once another process has ended: speak first
    return True


def _is_for_memory(error: Exception) -> bool:
    """Whether memory ran out: Python and NumPy say so by a class, torch by another on a GPU, by words on a CPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def _fail_for_memory(error: Exception, arguments: Sequence[str]) -> int:
    wanted = re.search(r"allocate (\d+) bytes|allocate ([\d.]+ [KMGTP]iB)", str(error))
    size = (wanted[2] or f"{int(wanted[1]) / 2**30:,.1f} GiB") if wanted else None
    much = f": {size} more were asked for" if size else ""
    wrapped = MachineError(
        f"the memory is full{much}",
        hint="Use less of it: a smaller batch (--batch-size), smaller images (--set data.image_size) or a smaller net",
    )
    wrapped.__cause__ = error
    return _fail(wrapped, arguments)


def _fail_as_bug(error: Exception, arguments: Sequence[str]) -> int:
    wrapped = CnnlabError(
        f"a bug in cnnlab: {type(error).__name__}: {cut(error, _LONGEST_BUG)}",
        hint="Please report it with the output of the same command and -v",
    )
    wrapped.__cause__ = error
    return _fail(wrapped, arguments)
