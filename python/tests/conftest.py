"""Says loudly what could not be tested here."""

import importlib.util

OPTIONAL = {"torch": "proxflow.torch", "jax": "proxflow.jax"}
MISSING = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]


def pytest_terminal_summary(terminalreporter):
    for name in MISSING:
        terminalreporter.write_line(f"NOT TESTED: {OPTIONAL[name]} ({name} is not installed in this environment)", yellow=True)
