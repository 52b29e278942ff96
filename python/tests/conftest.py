"""Says loudly what could not be tested here."""

import importlib.util
import os
import shutil

# Not whatever else is called so on PATH.
FLOW = shutil.which(os.environ["PROXFLOW_FLOW"]) if os.environ.get("PROXFLOW_FLOW") else None
OPTIONAL = {"torch": "proxflow.torch", "jax": "proxflow.jax", "sklearn": "the checks of scikit-learn on proxflow.Flow"}
MISSING = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]


def pytest_terminal_summary(terminalreporter):
    for name in MISSING:
        terminalreporter.write_line(f"NOT TESTED: {OPTIONAL[name]} ({name} is not installed in this environment)", yellow=True)
    if FLOW is None:
        terminalreporter.write_line("NOT TESTED: proxflow.Flow (PROXFLOW_FLOW names no command)", yellow=True)
