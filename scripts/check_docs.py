#!/usr/bin/env python3
"""Every link, picture and file that the documents name exists. Standard library only; exit 1 with one line per fault."""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|\{\{#include ([^}\s]+)\}\}")
# A path in code font that begins with a folder of this repository.
NAMED = re.compile(r"`((?:docs|gpu|python|reference|scripts|src|tests|validation)/[\w./-]*\w)`")


def slug(heading):
    """The anchor that GitHub and mdbook make of a heading."""
    text = re.sub(r"[`*\\]|\$[^$]*\$", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page):
    return {slug(line.lstrip("#")) for line in page.read_text().splitlines() if line.startswith("#")}


def faults(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for match in LINK.finditer(text):
        target = match.group(1) or match.group(2)
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.exists():
            yield f"{target}: no such file"
        elif anchor and file.suffix == ".md":
            pages = [file, *((file.parent / inner) for inner in re.findall(r"\{\{#include ([^}\s]+)\}\}", file.read_text()))]
            if not any(anchor in anchors(inner) for inner in pages):
                yield f"{target}: no such heading"
    for match in NAMED.finditer(text):
        if not (ROOT / match.group(1)).exists():
            yield f"`{match.group(1)}`: no such file"


def main():
    tracked = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    pages = [ROOT / name for name in tracked.stdout.split() if (ROOT / name).exists()]
    found = [f"{page.relative_to(ROOT)}: {fault}" for page in pages for fault in faults(page)]
    listed = (ROOT / "docs" / "guide" / "SUMMARY.md").read_text()
    for page in sorted((ROOT / "docs" / "guide").rglob("*.md")):
        name = page.relative_to(ROOT / "docs" / "guide").as_posix()
        if name != "SUMMARY.md" and f"({name})" not in listed:
            found.append(f"docs/guide/{name}: not listed in SUMMARY.md")
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(pages)} documents, {len(found)} faults")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
