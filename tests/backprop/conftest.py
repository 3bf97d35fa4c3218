"""The lecture's formulas as plain loops, for every test of the engine."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scalar():
    """The module `scalar.py` beside this file."""
    spec = importlib.util.spec_from_file_location("scalar_formulas", Path(__file__).parent / "scalar.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
