#!/usr/bin/env python3
"""Coverage-guided fuzzing of everything that reads files of others, in process, on stable Rust.

    python3 scripts/fuzz.py [--runs 10000000] [--seconds N] [--target NAME] [--json FILE] [--keep]

The targets are in fuzz/src/lib.rs, the corpus in fuzz/corpus. libFuzzer comes with the crate `libfuzzer-sys` and is compiled by the
system's C++ compiler; the instrumentation is the one that cargo-fuzz uses without a sanitizer. With --keep the corpus that was
found is minimised and its smallest files are added to fuzz/corpus. Python's standard library alone.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGETS = ["arrays", "checkpoint", "idx", "configuration", "metrics"]
FLAGS = ["-Cpasses=sancov-module", "-Cllvm-args=-sanitizer-coverage-level=4", "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
         "-Cllvm-args=-sanitizer-coverage-pc-table", "-Cllvm-args=-sanitizer-coverage-trace-compares", "-Cdebug-assertions", "-Coverflow-checks",
         "-Ccodegen-units=1", "--cfg", "fuzzing"]
# Files kept of each target, and their largest size in bytes.
KEPT, LARGEST = 60, 1024


def build():
    folder = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "fuzz"
    # C++ code of libFuzzer keeps its own flags; a host triple keeps build scripts free of the instrumentation.
    triple = re.search(r"host: (\S+)", subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout).group(1)
    environment = os.environ | {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(FLAGS), "CARGO_TARGET_DIR": str(folder), "CARGO_PROFILE_RELEASE_INCREMENTAL": "false",
                                "CARGO_PROFILE_RELEASE_DEBUG": "false"}
    command = ["cargo", "build", "--release", "--package", "proxflow-fuzz", "--features", "libfuzzer", "--bins", "--target", triple]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return folder / triple / "release"


def run(program, target, arguments, folder):
    seeds, found = ROOT / "fuzz" / "corpus" / target, folder / target
    found.mkdir()
    started = time.monotonic()
    options = [f"-runs={arguments.runs}", "-max_len=2048", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1", f"-seed={arguments.seed}",
               f"-artifact_prefix={folder}/crash-{target}-"]
    if arguments.seconds:
        options.append(f"-max_total_time={arguments.seconds}")
    ran = subprocess.run([program, *options, found, seeds], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", ran.stderr))
    covered = re.findall(r"cov: (\d+) ft: (\d+)", ran.stderr)
    result = {"target": target, "executions": int(stats.get("number_of_executed_units", 0)), "seconds": round(time.monotonic() - started, 1),
              "edges": int(covered[-1][0]) if covered else 0, "features": int(covered[-1][1]) if covered else 0,
              "peak_mb": int(stats.get("peak_rss_mb", 0)), "exit": ran.returncode}
    if ran.returncode != 0:
        result["fault"] = ran.stderr[-3000:]
    return result


def keep(program, target, folder):
    """Merges what was found into the committed corpus by coverage, the smallest files alone."""
    seeds, merged = ROOT / "fuzz" / "corpus" / target, folder / f"{target}-merged"
    merged.mkdir()
    subprocess.run([program, "-merge=1", "-max_len=2048", merged, seeds, folder / target], stderr=subprocess.DEVNULL, check=True)
    files = sorted((path for path in merged.iterdir() if path.stat().st_size <= LARGEST), key=lambda path: path.stat().st_size)
    for path in files[:: max(1, len(files) // KEPT)][:KEPT]:
        shutil.copy(path, seeds / f"found-{path.name[:12]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=int, help="stop each target after this long")
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    programs = build()
    results = []
    folder = pathlib.Path(tempfile.mkdtemp(prefix="proxflow-fuzz-"))
    for target in arguments.target or TARGETS:
        program = programs / f"fuzz_{target}"
        result = run(program, target, arguments, folder)
        results.append(result)
        print(json.dumps(result), flush=True)
        if arguments.json:
            pathlib.Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")
        if arguments.keep and result["exit"] == 0:
            keep(program, target, folder)
    faults = [result["target"] for result in results if result["exit"] != 0]
    if faults:
        print(f"faults in {', '.join(faults)}; the inputs are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
