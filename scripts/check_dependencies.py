#!/usr/bin/env python3
"""docs/dependencies.md names every direct dependency with a reason, and nothing else. Standard library only."""
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def direct():
    listed = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"], cwd=ROOT, capture_output=True, text=True, check=True)
    packages = json.loads(listed.stdout)["packages"]
    own = {package["name"] for package in packages}
    return {dependency["name"] for package in packages for dependency in package["dependencies"]} - own


def explained():
    rows = re.findall(r"^\| (`.*?) \| (.+) \|$", (ROOT / "docs" / "dependencies.md").read_text(), flags=re.M)
    return {name for names, _ in rows for name in re.findall(r"`([^`]+)`", names)}


def main():
    used, listed = direct(), explained()
    for name in sorted(used - listed):
        print(f"docs/dependencies.md: {name} is used and not explained", file=sys.stderr)
    for name in sorted(listed - used):
        print(f"docs/dependencies.md: {name} is explained and not used", file=sys.stderr)
    print(f"{len(used)} direct dependencies")
    sys.exit(0 if used == listed else 1)


if __name__ == "__main__":
    main()
