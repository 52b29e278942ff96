#!/usr/bin/env python3
"""The four cases of the paper on targets of lower dimension: runs, table and figure of docs/records/manifold.md.

    python3 scripts/manifold.py --out runs/manifold                 # 4 targets x 3 seeds x 4 cases, about 30 processor minutes
    python3 scripts/manifold.py --out runs/manifold --table --svg docs/images/manifold-cases.svg

Every run is `flow cases --data TARGET --auto --threads 1 --seed SEED --iterations 2000`; those that are there already are kept. Numbers come from
cases.json and metrics.csv of the runs: mean, least and largest over the seeds. Standard library only.
"""

import argparse
import csv
import json
import math
import pathlib
import subprocess
import sys

CASES = ["w1w2", "w1", "w2", "none"]
COLOURS = {"w1w2": "#0072b2", "w1": "#56b4e9", "w2": "#d55e00", "none": "#e69f00"}

def run(arguments):
    for seed in arguments.seeds:
        for target in arguments.targets:
            out = arguments.out / f"{target}-{seed}"
            if (out / "cases.json").exists():
                continue
            command = [arguments.flow, "cases", "--data", target, "--auto", "--threads", "1", "--seed", str(seed)]
            command += ["--iterations", str(arguments.iterations), "--out", str(out)]
            print(" ".join(command), flush=True)
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
                sys.exit(f"{out}: the run failed")


def curve(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [(int(row["iteration"]), float(row["critic_slope_mean"])) for row in csv.DictReader(file)]


def read(folder):
    """One dictionary for each case of a run of `flow cases`."""
    found = {}
    for row in json.loads((folder / "cases.json").read_text())["cases"]:
        case = row["case"]
        report = json.loads((folder / case / "report.json").read_text())
        lines, lipschitz = row["indicators"], report["configuration"]["training"]["lipschitz"]
        slopes = [(step, slope / lipschitz) for step, slope in curve(folder / case)]
        finite = lines is not None
        found[case] = {
            "curve": slopes,
            "slope": slopes[-1][1],
            "first": slopes[0][1],
            "gap": row["held_out"]["relative"] if finite else float("inf"),
            "floor": row["held_out"]["floor"] if finite else float("nan"),
            "bending": lines["kinetic_energy"] / lines["displacement_energy"] if finite else float("nan"),
            "straightness": lines["straightness"] if finite else float("nan"),
            "deviation": lines["deviation"] if finite else float("nan"),
            "kinetic": lines["kinetic_energy"] if finite else float("nan"),
            "distance": row["distance_to_support"],
            "commit": report["commit"],
            "parameters": report["configuration"]["training"],
        }
    return found


def text(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def spread(values):
    mean = sum(values) / len(values)
    return f"{text(mean)} ({text(min(values))} to {text(max(values))})"


def table(arguments, runs):
    print("| target | case | terminal slope / L, step 200 | at the end | (J - J*)/J* at most | straightness | K / displacement energy | step-size deviation | distance to the set |")
    print("|---|---|---|---|---|---|---|---|---|")
    for target in arguments.targets:
        for case in CASES:
            rows = [runs[target, seed][case] for seed in arguments.seeds]
            keys = ["first", "slope", "gap", "straightness", "bending", "deviation", "distance"]
            cells = [spread([row[key] for row in rows]) for key in keys]
            print("| " + " | ".join([target, case, *cells]) + " |")
        floor = [runs[target, seed]["w1w2"]["floor"] for seed in arguments.seeds]
        # What the oracle's optimum on the same batch has by construction.
        print(f"| {target} | certified optimum | | at most 1 | 0; floor {spread(floor)} | 1 | 1 | 0 | 0 |")
    print("commits:", ", ".join(sorted({row["commit"] for cases in runs.values() for row in cases.values()})))


def svg(arguments, runs):
    """Terminal slope over the steps, one panel a target, all seeds; logarithmic, L the grey line."""
    width, height, left, top, gap = 250, 210, 52, 56, 36
    total = left + len(arguments.targets) * (width + gap)
    low, high = -0.5, 4.3
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height + top + 64}" font-family="sans-serif" font-size="12">',
        f'<rect width="{total}" height="{height + top + 64}" fill="white"/>',
        f'<text x="{left}" y="20" font-size="14">Mean slope of the critic at the samples over L, {len(arguments.seeds)} seeds for each case</text>',
    ]
    for index, target in enumerate(arguments.targets):
        x0 = left + index * (width + gap)
        last = max(step for seed in arguments.seeds for step, _ in runs[target, seed]["w1w2"]["curve"])
        place = lambda step, slope: (
            x0 + width * step / last,
            top + height * (high - min(max(math.log10(max(slope, 1e-9)), low), high)) / (high - low),
        )
        parts.append(f'<text x="{x0}" y="{top - 8}">{target}</text>')
        for power in range(0, 5):
            y = place(0, 10**power)[1]
            colour = "#888888" if power == 0 else "#e4e4e4"
            parts.append(f'<line x1="{x0}" x2="{x0 + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>')
            parts.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#444444">{10**power}</text>')
        for step in (0, last // 2, last):
            x = place(step, 1)[0]
            parts.append(f'<text x="{x:.1f}" y="{top + height + 16}" text-anchor="middle" fill="#444444">{step}</text>')
        for case in CASES:
            for seed in arguments.seeds:
                points = " ".join("%.1f,%.1f" % place(step, slope) for step, slope in runs[target, seed][case]["curve"])
                parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[case]}" stroke-width="1.6"/>')
    for index, case in enumerate(CASES):
        x, y = left + 110 * index, top + height + 42
        parts.append(f'<line x1="{x}" x2="{x + 24}" y1="{y - 4}" y2="{y - 4}" stroke="{COLOURS[case]}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x + 30}" y="{y}">{case}</text>')
    parts.append(f'<text x="{left + 460}" y="{top + height + 42}" fill="#444444">outer steps; grey line: slope L</text></svg>')
    arguments.svg.write_text("\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--flow", default="target/release/flow")
    parser.add_argument("--targets", nargs="+", default=["circle", "segment", "sphere", "swiss-roll"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--table", action="store_true", help="no runs: the table of those that are there")
    parser.add_argument("--svg", type=pathlib.Path)
    arguments = parser.parse_args()
    if not arguments.table:
        run(arguments)
    runs = {(target, seed): read(arguments.out / f"{target}-{seed}") for target in arguments.targets for seed in arguments.seeds}
    table(arguments, runs)
    if arguments.svg:
        svg(arguments, runs)


if __name__ == "__main__":
    main()
