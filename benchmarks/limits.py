"""Cost of the tables of limits and coupling, beside that of reading and coupling the job.

    python benchmarks/limits.py TRACE.parquet --layout META.yaml [--times 43]

Prints the table of docs/benchmarks.md, section Limits. `--times` repeats the steps of the op table.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from loadpath.audit.limits import waiting_tables
from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.couple.steps import as_runs
from loadpath.diagnose.efficiency import efficiencies
from loadpath.diagnose.failure_envelope import failure_envelope
from loadpath.diagnose.levels import ideal_work_ns
from loadpath.diagnose.limitation import limitations
from loadpath.diagnose.moments import look_at_moments
from loadpath.diagnose.step_sample import sample_steps


def repeated(source, times, folder):
    """Write the op table with its steps repeated."""
    table = pl.read_parquet(source)
    path = Path(folder) / source.name
    shift = int(table["step"].max()) + 1
    pl.concat([table.with_columns(pl.col("step") + k * shift) for k in range(times)]).write_parquet(
        path
    )
    return path


def timed(work, repeats=5):
    """Least wall and processor time of some runs, in s."""
    work()
    runs = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(wall for wall, _ in runs), min(cpu for _, cpu in runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--layout", type=Path, required=True)
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    settings = Settings(layout=options.layout)
    with tempfile.TemporaryDirectory() as folder:
        path = repeated(options.source, options.times, folder)
        steps = couple_sources([path], settings, lambda _: None)
    job = as_runs(steps)
    ideal = ideal_work_ns(job, "median")
    moments = look_at_moments(job, ideal)
    rng = np.random.default_rng(0)
    parts = {
        "limitation": lambda: limitations(job, ideal, rng),
        "efficiency": lambda: efficiencies(job, rng),
        "failure envelope": lambda: failure_envelope(
            job, sample_steps(job), ideal, bound_ratio=0.05, rng=rng
        ),
        "distance, missed, blocks": lambda: waiting_tables(job, moments, settings),
    }
    print(
        f"{job.n_run * job.n_op:,} ops, {job.n_run * job.graph.n_node:,} nodes\n\n| table | wall s | CPU s |\n|---|---:|---:|"
    )
    for name, part in parts.items():
        wall, cpu = timed(part)
        print(f"| {name} | {wall:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
