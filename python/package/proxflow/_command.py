"""The command `flow` of this repository as a child process: found, started, interrupted, its refusals turned into exceptions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

from . import _arguments as arguments

_HOW = (
    "build it in a checkout of proxflow by `cargo build --release --bin flow`, then give target/release/flow as `command` or in $PROXFLOW_FLOW, "
    "or put it on PATH"
)
_REFUSAL = re.compile(r"(?P<field>\S.*?): (?P<value>.*) is not allowed \(allowed: (?P<allowed>.*)\)", flags=re.S)
_OPTION = re.compile(
    r"invalid value '(?P<value>.*)' for '--(?P<field>[a-z-]+)[^']*':? \[?(?:allowed: |possible values: )?(?P<allowed>.*?)\]? \(see flow --help\)", flags=re.S
)


def find(command: Any) -> str:
    """The program: `command`, else ``$PROXFLOW_FLOW``, else ``flow`` on PATH."""
    if command is not None and not isinstance(command, (str, os.PathLike)):
        raise arguments.invalid("command", repr(command), "None or the path of the program")
    named = command if command is not None else os.environ.get("PROXFLOW_FLOW") or None
    found = shutil.which(os.fspath(named) if named is not None else "flow")
    if found is None:
        sought = f"the command flow of proxflow is not at {named}" if named is not None else "the command flow of proxflow is not on PATH"
        raise FileNotFoundError(f"{sought}: {_HOW}")
    return str(Path(found).absolute())


def run(command: Any, options: list[str], folder: Path, names: dict[str, str], *, keep: bool, verbose: bool) -> None:
    """Runs ``flow OPTIONS`` in `folder` to its end.

    Parameters
    ----------
    names : dict
        The caller's name of what the command names otherwise, for its refusals.
    keep : bool
        Whether an interrupted child is worth waiting for: it then finishes its step and leaves a whole run. Else it is ended at once.
    verbose : bool
        Whether its lines go on to ``sys.stderr``.

    Raises
    ------
    ValueError
        The child refused its input (exit code 2), with ``field``, ``value`` and ``allowed``.
    RuntimeError
        It failed otherwise, with its last line.
    KeyboardInterrupt
        After the child has ended.
    """
    program = find(command)
    try:
        # In a session of its own the child gets the one signal that is passed on, not a second one from the terminal, which would not wait.
        child = subprocess.Popen(
            [program, *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=os.name != "nt",
        )
    except OSError as error:
        raise RuntimeError(f"{program} cannot be run ({error.strerror}): {_HOW}") from None
    assert child.stderr is not None
    last: deque[str] = deque(maxlen=20)
    try:
        for line in child.stderr:
            last.append(line.strip())
            if verbose:
                sys.stderr.write(line)
        code = child.wait()
    except KeyboardInterrupt:
        _end(child, keep)
        raise
    except BaseException:
        child.kill()
        raise
    finally:
        child.stderr.close()
        child.wait()
    if code != 0:
        raise _failure(program, code, [line for line in last if line], names)


def _end(child: subprocess.Popen[str], keep: bool) -> None:
    """Passes the interrupt on; a second one does not wait any more."""
    try:
        if keep:
            child.send_signal(signal.SIGINT)
            child.communicate()
        else:
            child.kill()
    except KeyboardInterrupt:
        child.kill()


def _failure(program: str, code: int, lines: list[str], names: dict[str, str]) -> Exception:
    own = [line.removeprefix("flow: ") for line in lines if line.startswith("flow: ")]
    line = own[-1] if own else (lines[-1] if lines else "no word why")
    if code != 2 or not own:
        return RuntimeError(f"{program} ended with code {code}: {line}")
    found = _OPTION.fullmatch(line) or _REFUSAL.fullmatch(line)
    if found is None:
        return ValueError(line)
    field, allowed = found["field"], found["allowed"]
    inner = _REFUSAL.fullmatch(allowed)  # an option's reader may refuse in these words itself
    return arguments.invalid(names.get(field, field), found["value"], inner["allowed"] if inner else allowed)
