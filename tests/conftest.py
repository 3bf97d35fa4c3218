"""What every test may use: the program in this process, and a world of its own (no home, no network, no data)."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cnnlab.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout; fails where stdout holds anything else."""
        return json.loads(self.out)


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background: what tests start would be deaf too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Hide a GPU from all tests but those marked gpu, and from what they start: its bits are not a CPU's."""
    if "gpu" not in config.option.markexpr.replace("not gpu", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked gpu where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has its own current folder, cache and data folder, a fixed width, no colour and no network."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "cache"))
    for name in ("CNNLAB_DATA", "CNNLAB_MIRROR", "CNNLAB_NO_FALLBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(socket.socket, "connect", _local_only(socket.socket.connect))
    return work


def _local_only(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        host = address[0] if isinstance(address, tuple) else "local"
        if host not in ("127.0.0.1", "::1", "localhost", "local"):
            raise OSError(f"network is closed in tests: {address}")
        return connect(self, address)

    return guarded


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `cnnlab ARGUMENTS` in this process."""

    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def cli_process() -> Callable[..., Ended]:
    """Run `cnnlab ARGUMENTS` as a process of its own: slower; for imports, encodings, signals."""

    def run(*arguments: object, timeout: float = 120, **environment: str) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", "cnnlab", *map(str, arguments)],
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **environment},
        )
        return Ended(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))

    return run


@pytest.fixture(scope="session")
def make_comparison() -> Callable[..., Any]:
    """`make` of `made_comparison.py` beside this file: a finished comparison without any training."""
    spec = importlib.util.spec_from_file_location("made_comparison", Path(__file__).parent / "made_comparison.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a small net on digits, trained in about a second; copy it before you change it."""
    from cnnlab.recipe.load import resolve
    from cnnlab.recipe.spec import parse_spec
    from cnnlab.training.loop import train
    from cnnlab.training.settings import Settings

    flags = {"--data": "digits", "--epochs": 3, "--batch-size": 64, "--lr": 0.03}
    recipe = resolve(arch=parse_spec("mlp:depth=1,width=32"), flags=flags)
    return train(recipe, Settings(out=tmp_path_factory.mktemp("trained"), name="digits-mlp", device="cpu")).run
