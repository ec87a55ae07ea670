"""Whole processes, from start to exit, beside a peer's: time, processor time and peak memory.

    python benchmarks/whole_process.py TABLE [--peer COMMAND] [--tiles 1,10,43] [--runs 5]

TABLE is an op table with its layout beside it (``meta-NAME.yaml``). The peer's COMMAND may hold
``{table}`` and ``{layout}``, such as

    "python analyzer/wia.py --trace {table} --metadata {layout} --dump-dir peer"

Runs alternate (A B A B ...) after one of each that is not counted, so that both meet the same
machine; medians are printed, ratios are medians over pairs. A tile count above 1 repeats the steps
of the table under new step numbers. ``--first-run`` times a run with an empty cache of compiled
kernels.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

STEPS_APART = 10_000
FLOOR = """
import llvmlite.binding, numpy, polars

numpy.ones(3).sum()
polars.DataFrame({"a": [1]}).select(polars.col("a").sum())
"""


def measure(command, environment=None):
    """Wall seconds, processor seconds and peak MB of one process and its children."""
    environment = dict(os.environ if environment is None else environment)
    # what is installed has its bytecode beside it; the run that is not counted may write it
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begin
    if status:
        raise SystemExit(f"failed: {shlex.join(map(str, command))}")
    return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def tile(table, layout, n_tile, folder):
    """Repeat the steps of a job under new numbers; the layout comes along."""
    frame = pl.read_parquet(table)
    step = pl.col("step").cast(pl.Int64)
    copies = [frame.with_columns(step + k * STEPS_APART) for k in range(n_tile)]
    path = folder / f"trace-tiled{n_tile}.parquet"
    pl.concat(copies).write_parquet(path)
    beside = folder / f"meta-tiled{n_tile}.yaml"
    beside.write_text(layout.read_text(encoding="utf-8"), encoding="utf-8")
    return path, beside, frame.height * n_tile


def compare(commands, n_run):
    """Medians of each command, and of the ratios to the last of them, over alternating runs."""
    for command in commands.values():
        measure(command)
    runs = [{name: measure(c) for name, c in commands.items()} for _ in range(n_run)]
    *_, reference = commands
    for name in commands:
        wall, cpu, peak = (statistics.median(run[name][i] for run in runs) for i in range(3))
        ratios = (
            statistics.median(run[reference][i] / run[name][i] for run in runs) for i in range(2)
        )
        yield name, wall, cpu, peak, *ratios


def main():
    """Print one table per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--peer", default="", help="command with {table} and {layout}")
    parser.add_argument("--tiles", default="1")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--first-run", action="store_true")
    options = parser.parse_args()
    layout = options.table.with_name(f"meta-{options.table.stem.removeprefix('trace-')}.yaml")
    loadpath = [sys.executable, "-m", "loadpath"]
    with tempfile.TemporaryDirectory() as scratch:
        floor = Path(scratch) / "floor.py"
        floor.write_text(FLOOR, encoding="utf-8")
        if options.first_run:
            empty = os.environ | {"NUMBA_CACHE_DIR": f"{scratch}/kernels"}
            wall, cpu, peak = measure(
                [*loadpath, "audit", options.table, "--json", "--no-cache"], empty
            )
            print(f"first run: {wall:.1f} s, {cpu:.1f} s of processors, {peak:.0f} MB")
        for n_tile in map(int, options.tiles.split(",")):
            table, beside, n_op = tile(options.table, layout, n_tile, Path(scratch))
            commands = {
                "start-up floor": [sys.executable, floor],
                "loadpath audit --json": [*loadpath, "audit", table, "--json", "--no-cache"],
                "loadpath, the same asked again": [*loadpath, "audit", table, "--json"],
                "loadpath whatif --format osdi25": [
                    *(*loadpath, "whatif", table, "--layout", beside, "--format", "osdi25")
                ],
            }
            if n_tile > 1:
                screened = [*loadpath, "audit", table, "--json", "--no-cache", "--steps", "128"]
                commands["loadpath audit --steps 128"] = screened
            if options.peer:
                commands["peer"] = shlex.split(options.peer.format(table=table, layout=beside))
            print(f"\n{n_op:,} ops; medians of {options.runs}\n")
            print("| process | wall s | processors s | peak MB | peer's wall | peer's processors |")
            print("|---|---:|---:|---:|---:|---:|")
            for name, wall, cpu, peak, *ratios in compare(commands, options.runs):
                told = ratios if options.peer and name.startswith("loadpath") else ()
                times = " | ".join(f"{ratio:.2f}" for ratio in told) or " | "
                print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {times} |")


if __name__ == "__main__":
    main()
