#!/usr/bin/env python3
"""The house rules of the sources: no import circle among the files of a crate, no folder above 15 files, no file past 400 lines.

    python3 scripts/check_house.py

A file imports what it names by `use` or by a path; a name that a module passes on (`pub use`) is followed to the file that has it.
Test modules are left out of the imports. Files and folders that break a rule for a reason stand below. Standard library only.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LONGEST, MOST = 400, 15

# Past 400 lines, and why.
LONG = {}

# Above 15 files, and why.
WIDE = {}


def crates():
    """(name, root file) of every library and program of the workspace."""
    for manifest in sorted(ROOT.glob("**/Cargo.toml")):
        if "target" in manifest.relative_to(ROOT).parts:
            continue
        folder = manifest.parent / "src"
        if (folder / "lib.rs").is_file():
            yield f"{folder.relative_to(ROOT)}", folder / "lib.rs"
        for root in sorted(folder.glob("bin/*/main.rs")):
            yield f"{root.parent.relative_to(ROOT)}", root


def code(path):
    """The text without comments, strings and the test module at its end."""
    text = re.sub(r"^#\[cfg\((?:all\()?test\b.*\n(?:#\[.*\n)*(?:pub\S* )?(?:mod|use) [^{;]*;", "", path.read_text(), flags=re.M)
    text = re.split(r"^#\[cfg\((?:all\()?test\b.*\n(?:#\[.*\n)*mod \w+ \{", text, maxsplit=1, flags=re.M)[0]
    text = re.sub(r"//.*|pub\(in [^)]*\)", "", text)
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)


def modules(root):
    """Module path (a tuple) -> file, from the `mod` declarations down."""
    found, stack = {}, [((), root)]
    while stack:
        path, file = stack.pop()
        found[path] = file
        home = file.parent if file.name in ("lib.rs", "main.rs", "mod.rs") else file.with_suffix("")
        for name in re.findall(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+);", code(file), re.M):
            for child in (home / f"{name}.rs", home / name / "mod.rs"):
                if child.is_file():
                    stack.append(((*path, name), child))
    return found


def leaves(tree, prefix=()):
    """The paths of a use tree `a::{b, c::d}`; `as` names are dropped, `*` stays."""
    tree = tree.strip()
    if tree.startswith("{"):
        depth, start = 0, 1
        for k, character in enumerate(tree):
            depth += {"{": 1, "}": -1}.get(character, 0)
            if (character == "," and depth == 1) or (character == "}" and depth == 0):
                if tree[start:k].strip():
                    yield from leaves(tree[start:k], prefix)
                start = k + 1
        return
    head, separator, rest = tree.partition("::")
    if separator and "{" not in head:
        yield from leaves(rest, (*prefix, head.strip()))
    else:
        yield (*prefix, tree.split(" as ")[0].strip())


def absolute(path, own):
    """`path` from the root of the crate, or None for another crate's."""
    base = list(own)
    path = list(path)
    if path[0] == "crate":
        return tuple(path[1:])
    if path[0] not in ("self", "super"):
        return None
    while path and path[0] in ("self", "super"):
        if path.pop(0) == "super":
            base = base[:-1]
    return (*base, *path)


def imports(found):
    """Module -> the modules it imports."""
    uses, passed = {}, {}
    for own, file in found.items():
        text = code(file)
        uses[own] = set()
        for public, tree in re.findall(r"^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", text, re.M):
            for leaf in leaves(re.sub(r"\s+", " ", tree)):
                path = absolute(leaf, own)
                if path is None and (*own, leaf[0]) in found:
                    path = (*own, *leaf)
                if path is None:
                    continue
                if public:
                    name = path[-1]
                    passed.setdefault(own, {})[name] = path
                else:
                    uses[own].add(path)
        for inline in re.findall(r"\b((?:crate|super)(?:::\w+)+)", re.sub(r"\buse\s+[^;]+;", "", text)):
            path = absolute(inline.split("::"), own)
            if path:
                uses[own].add(path)

    def owner(path, depth=0):
        """The module that has what `path` names."""
        for cut in range(len(path), -1, -1):
            if path[:cut] in found:
                module, rest = path[:cut], path[cut:]
                break
        if rest and depth < 8:
            names = passed.get(module, {})
            if rest[0] in names:
                return owner((*names[rest[0]], *rest[1:]), depth + 1)
            for name, target in names.items():
                if name == "*" and target[:-1] != module and (inner := owner((*target[:-1], *rest), depth + 1)) != target[:-1]:
                    return inner
        return module

    return {own: {owner(path) for path in paths} - {own} for own, paths in uses.items()}


def circles(graph):
    """The strongly connected sets of more than one module (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def main():
    faults, files = [], set()
    for name, root in crates():
        found = modules(root)
        files.update(found.values())
        graph = imports(found)
        for group in circles(graph):
            edges = [f"{'::'.join(a) or 'root'} -> {'::'.join(b) or 'root'}" for a in group for b in sorted(graph[a]) if b in group]
            faults.append(f"{name}: import circle: {'; '.join(edges)}")
    listed = [path for path in ROOT.glob("**/*.rs") if "target" not in path.relative_to(ROOT).parts]
    for path in sorted(listed):
        lines, short = len(path.read_text().splitlines()), str(path.relative_to(ROOT))
        if lines > LONGEST and short not in LONG:
            faults.append(f"{short}: {lines} lines (at most {LONGEST}, or a reason in {pathlib.Path(__file__).name})")
        if lines <= LONGEST and short in LONG:
            faults.append(f"{short}: {lines} lines need no reason any more")
    folders = {path.parent for path in listed}
    for folder in sorted(folders):
        count = sum(path.parent == folder for path in listed)
        short = str(folder.relative_to(ROOT))
        if count > MOST and short not in WIDE:
            faults.append(f"{short}: {count} files (at most {MOST}, or a reason in {pathlib.Path(__file__).name})")
    print("\n".join(faults + [f"{len(listed)} files, {len(faults)} faults"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
