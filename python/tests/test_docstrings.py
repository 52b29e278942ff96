"""The examples of all docstrings run and print what they say."""

import doctest
import importlib
import importlib.util

import proxflow
import pytest
from conftest import FLOW

MODULES = ["proxflow", *(f"proxflow.{name}" for name in ("_divergence", "_proximal", "_result", "_transport", "flow", "torch", "jax"))]
PUBLIC = [getattr(proxflow, name) for name in proxflow.__all__ if callable(getattr(proxflow, name))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    needed = name.rpartition(".")[2]
    if needed in ("torch", "jax"):
        pytest.importorskip(needed)
    if needed == "flow" and FLOW is None:
        pytest.skip("PROXFLOW_FLOW names no command")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0 and found.failed == 0


@pytest.mark.parametrize("function", [f for f in PUBLIC if not isinstance(f, type)], ids=lambda f: f.__name__)
def test_every_function_has_an_example(function):
    assert ">>> " in function.__doc__
