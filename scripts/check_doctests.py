#!/usr/bin/env python3
"""Every public function of the oracle's divergences, transport, proximal step and trajectory carries a runnable example. Standard library only; exit 1 with one line per fault."""
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "reference" / "src"
MODULES = ("divergence", "transport", "proximal", "trajectory")
FUNCTION = re.compile(r"\s*pub (?:const |unsafe |async )*fn (\w+)")
# What rustdoc compiles but does not run, or does not even compile.
IDLE = re.compile(r"ignore|no_run|compile_fail|text|console|math")


def runnable(comment):
    """Whether the lines of a documentation comment hold a code block that rustdoc runs."""
    fences = [line.strip()[3:] for line in comment if line.strip().startswith("```")]
    return any(not IDLE.search(opening) for opening in fences[::2])


def faults(file):
    """The public functions before the file's unit tests that show no example, and how many functions there are."""
    found, total, comment = [], 0, []
    for number, line in enumerate(file.read_text().split("#[cfg(test)]\nmod")[0].splitlines(), 1):
        if line.strip().startswith("///"):
            comment.append(line.strip()[3:])
        elif match := FUNCTION.match(line):
            total += 1
            if not runnable(comment):
                found.append(f"{file.relative_to(SOURCE.parent.parent)}:{number}: {match.group(1)} has no runnable example")
            comment = []
        elif not line.strip().startswith("#["):
            comment = []
    return found, total


def main():
    files = [file for module in MODULES for file in (SOURCE / f"{module}.rs", *sorted((SOURCE / module).rglob("*.rs"))) if file.exists()]
    checked = [faults(file) for file in files]
    found = [line for lines, _ in checked for line in lines]
    for line in found:
        print(line, file=sys.stderr)
    print(f"{sum(total for _, total in checked)} public functions, {len(found)} without a runnable example")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
