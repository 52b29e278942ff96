#!/usr/bin/env python3
"""The rows of docs/records/flow.md from the run folders of `flow train`.

    python3 scripts/flow_table.py RUN [RUN ...]

Numbers come from each run's report.json; the commits of the programs that made them are printed last. Standard library only.
"""

import json
import pathlib
import sys


def row(folder):
    report = json.loads((folder / "report.json").read_text())
    training, population = report["configuration"]["training"], report["population"]
    held, lines = report["held_out"], report["indicators"]
    lower, upper = population["interval"]
    digits = 5 if upper < 10 else 3
    cells = [
        folder.name,
        f"{training['lambda']:g}, {training['lipschitz']:g}",
        f"[{lower:.{digits}f}, {upper:.{digits}f}]",
        f"{100 * population['relative']:.2f} %",
        f"{100 * held['relative']:.1f} %",
        f"{100 * held['floor']:.1f} %",
        f"{lines['straightness']:.5f}",
        f"{lines['deviation']:.1e}",
        f"{report['seconds']:.0f}",
    ]
    return report["commit"], "| " + " | ".join(cells) + " |"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print("| target | lambda, L | J* and J over all noise | (J - J*)/J* at most | held out | floor | straightness | step-size deviation | wall s |")
    print("|---|---|---|---|---|---|---|---|---|")
    commits = set()
    for name in sys.argv[1:]:
        commit, text = row(pathlib.Path(name))
        commits.add(commit)
        print(text)
    print(f"commits: {', '.join(sorted(commits))}")


if __name__ == "__main__":
    main()
