"""The program around the commands: exit codes, the error block, JSON on failure."""

import os
import subprocess
import sys

import numpy as np
import pytest

from cnnlab import __version__, errors


def test_version(cli):
    assert cli("--version").out == f"cnnlab {__version__}\n"


def test_no_arguments_show_the_help_and_exit_2(cli):
    ended = cli()
    assert ended.code == 2
    assert "cnnlab train --arch cnn" in ended.out
    assert ended.err == ""


def test_an_unknown_command_is_wrong_usage(cli):
    ended = cli("trian")
    assert ended.code == 2
    assert ended.out == ""
    assert "trian" in ended.err
    assert "cnnlab --help" in ended.err


def test_failure_with_json_is_one_document_on_stdout(cli):
    ended = cli("train", "--json", "--no-such-flag")
    assert ended.code == 2
    assert ended.err == ""
    assert ended.json["error"].keys() == {"code", "kind", "message", "hint"}
    assert ended.json["error"]["code"] == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CnnlabError, 1),
        (errors.UsageError, 2),
        (errors.RecipeError, 2),
        (errors.DataError, 3),
        (errors.PictureError, 3),
        (errors.CheckpointError, 3),
        (errors.MachineError, 4),
        (errors.NumericError, 5),
    ],
)
def test_exit_codes_are_the_documented_ones(error, code):
    assert error("message").exit_code == code


def test_a_stop_carries_the_signal_in_its_exit_code():
    assert errors.Stopped("stopped", signal_number=2).exit_code == 130
    assert errors.Stopped("stopped", signal_number=15).exit_code == 143


def of_torch_on_a_gpu():
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79 GiB")


def of_torch_on_the_cpu():
    import torch

    torch.empty(2**50, dtype=torch.uint8)


def of_numpy():
    np.empty((10**9, 10**6))


@pytest.mark.parametrize(
    ("asked", "size"),
    [(of_torch_on_the_cpu, "1,048,576.0 GiB"), (of_torch_on_a_gpu, "2.50 GiB"), (of_numpy, "7.11 PiB")],
)
def test_a_full_memory_is_told_with_the_way_out(asked, size, cli, monkeypatch):
    monkeypatch.setattr("cnnlab.cli.main._run", lambda arguments: asked())
    ended = cli("train")
    assert ended.code == 4
    assert f"error: the memory is full: {size} more were asked for" in ended.err
    assert "--batch-size" in ended.err


def test_a_full_memory_that_names_no_size_is_told_too(cli, monkeypatch):
    def raise_bare(arguments):
        raise MemoryError

    monkeypatch.setattr("cnnlab.cli.main._run", raise_bare)
    ended = cli("train", "-v")
    assert ended.code == 4
    assert "error: the memory is full\n" in ended.err
    assert "MemoryError" in ended.err  # with -v, where it happened


def test_help_of_every_command_imports_nothing_heavy(cli_process):
    for command in ("train", "compare", "evaluate", "gradcheck", "filter"):
        ended = cli_process(command, "--help", PYTHONPROFILEIMPORTTIME="1")
        assert ended.code == 0
        for heavy in ("torch", "numpy", "matplotlib", "sklearn", "PIL"):
            assert f" {heavy}\n" not in ended.err, f"cnnlab {command} --help imports {heavy}"


@pytest.mark.parametrize(("processes", "left"), [("2", ""), ("1", "cleared up\n")])
def test_one_of_several_processes_ends_without_pythons_clearing_up(processes, left):
    """What gloo's threads still hold then aborts a process now and then."""
    program = (
        "import atexit, runpy, sys; atexit.register(print, 'cleared up'); sys.argv = ['cnnlab', '--version'];"
        "runpy.run_module('cnnlab', run_name='__main__')"
    )
    environment = {**os.environ, "WORLD_SIZE": processes, "RANK": "0"}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"cnnlab {__version__}\n{left}", "")


def test_ctrl_c_while_the_program_is_imported_leaves_no_traceback():
    program = (
        "import builtins, runpy, signal, sys; real = builtins.__import__\n"
        "def importing(name, *rest, **named):\n"
        "    if name.startswith('typer'):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    return real(name, *rest, **named)\n"
        "builtins.__import__ = importing; sys.argv = ['cnnlab', '--version']\n"
        "runpy.run_module('cnnlab', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("wanted", [(), ("--json",)])
def test_ctrl_c_ends_with_one_line_or_with_json_one_document(cli, own_world, wanted):
    (own_world / "layer.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    ended = cli("gradcheck", "layer.py:Layer", *wanted)
    told = "stopped by Ctrl-C: what was written is whole"
    assert ended.code == 130
    if wanted:
        assert ended.json["error"] == {"code": 130, "kind": "stopped", "message": told, "hint": None}
        assert ended.err == ""
    else:
        assert (ended.out, ended.err) == ("", f"error: {told}\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("evaluate", "LONG"), "no run 'LONG' in runs"),
        (("train", "--resume", "LONG"), "no run 'LONG' in runs"),
        (("compare", "mlp", "cnn2LONG"), "unknown contestant 'cnn2LONG'"),
    ],
)
def test_a_name_too_long_for_a_file_is_not_found(cli, arguments, told):
    long = "a" * 300
    ended = cli(*(word.replace("LONG", long) for word in arguments))
    assert (ended.code, told.replace("LONG", long) in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("compare", "mlp", "cnn", "--match", "parms"), "'--match': 'parms' is not one of 'params', 'macs'."),
        (("train", "--epochs", "x"), "'--epochs': expected a valid integer, received \"x\"\nSee: cnnlab train --help"),
        (("train", "--lr", "0,01"), "'--lr': expected a valid number, received \"0,01\"\nWrite a decimal point: 0.01"),
        (("train", "--max-minutes", "1,5e2"), "Write a decimal point: 1.5e2"),
        (("train", "--lr", "fast"), 'received "fast"\nSee: cnnlab train --help'),
        (("train", "--set", "train"), "received 'train'\nSuch as NAME:depth=3,width=64 for options, and --set train.e"),
    ],
)
def test_a_wrong_value_is_told_in_words_of_the_command_line(cli, arguments, told):
    ended = cli(*arguments)
    assert (ended.code, told in ended.err) == (2, True), ended.err


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("train --dropout 0.5", "dropout is an option of nets (mlp, cnn): write --arch cnn:dropout=0.5"),
        ("train --arch mlp:width=8 --dropout=0.5", "write --arch mlp:width=8,dropout=0.5"),
        ("train --arch resnet --dropout --data digits", "write --arch cnn:dropout=VALUE"),
        ("train --arch =x --dropout 1", "write --arch cnn:dropout=1"),
        ("train --recipe my.yaml --dropout 0.5", "Write --set model.dropout=0.5"),
        ("train --clip-norm 1", "Write --set train.clip_norm=1"),
        ("train --momentum -0.5", "Write --set optim.momentum=-0.5"),
        ("compare mlp cnn --dropout 0.5", "(mlp, cnn): write cnn:dropout=0.5"),
        ("train --seeds 3", "--seeds is an option of cnnlab compare"),
        ("train --tta", "--tta is an option of cnnlab evaluate"),
        ("evaluate last --epochs 3", "--epochs is an option of cnnlab train and of cnnlab compare"),
        ("evaluate last --image-size 32", "Write --set data.image_size=32"),
        ("compare cnn --arch mlp", "--arch is an option of cnnlab train and of cnnlab gradcheck"),
        ("train --optim adam", "See: cnnlab train --help"),
        ("evaluate last --dropout 3", "See: cnnlab evaluate --help"),
        ("--arch cnn", "--arch is an option of cnnlab train and of cnnlab gradcheck"),
        ("train --epoch 3", "--epochs"),
        ("train my.yaml", "Write --recipe my.yaml"),
        ("train my.yaml:lr=1", "Write --arch my.yaml:lr=1"),
        ("train cnn:width=8 mlp", "Write --arch cnn:width=8"),
        ("train net.py:Net", "Write --arch net.py:Net"),
        ("train optim.lr=0.1", "Write --set optim.lr=0.1"),
        ("train nonsense", "See: cnnlab train --help"),
    ],
)
def test_an_unknown_option_or_a_word_too_many_is_led_to_what_was_meant(cli, typed, hint):
    ended = cli(*typed.split())
    assert (ended.code, hint in ended.err, "Traceback" in ended.err) == (2, True, False), ended.err
