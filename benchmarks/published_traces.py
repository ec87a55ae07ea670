"""The published what-if analysis beside loadpath's, field by field, on every trace that came with it.

    python benchmarks/published_traces.py FOLDER

FOLDER is ``data`` of StragglerAnalysis (ByteDance-Seed, Apache-2.0): ``trace-NAME.parquet`` with
``meta-NAME.yaml``, and its results in ``result-NAME.json``, ``ms-NAME.json`` and ``mw-NAME.json``.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

from loadpath.audit import run_audit

PARTS = ("result", "ms", "mw")


def leaves(value, path=()):
    """Go through all fields of a document, with their path."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        if isinstance(part, (dict, list)):
            yield from leaves(part, (*path, str(key)))
        else:
            yield (*path, str(key)), part


def compare(ours, theirs):
    """Number of fields, and the largest relative difference; infinite where fields are others."""
    mine, published = dict(leaves(ours)), dict(leaves(theirs))
    numbers = {path: value for path, value in published.items() if isinstance(value, (int, float))}
    same = all(mine.get(path) == value for path, value in published.items() if path not in numbers)
    if mine.keys() != published.keys() or not same:
        return len(published), math.inf
    away = (abs(mine[path] - value) / max(abs(value), 1e-12) for path, value in numbers.items())
    return len(published), max(away)


def main():
    """Print one row per trace."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    print("| trace | fields | largest difference | verdict |")
    print("|---|---:|---:|---|")
    for table in sorted(folder.glob("trace-*.parquet")):
        name = table.stem.removeprefix("trace-")
        layout = folder / f"meta-{name}.yaml"
        theirs = {
            part: json.loads((folder / f"{part}-{name}.json").read_text(encoding="utf-8"))
            for part in PARTS
        }
        asked = ["whatif", table, "--layout", layout, "--format", "osdi25"]
        ours = json.loads(subprocess.check_output([sys.executable, "-m", "loadpath", *asked]))
        n_field, worst = compare(ours, theirs)
        verdict = run_audit(table, layout=layout, brief=False, cache=False).verdict
        print(f"| {name} | {n_field} | {worst:.1e} | {verdict['summary']} |")


if __name__ == "__main__":
    main()
