"""Cost of the stability vector, alone in a warm process.

    python benchmarks/stability_vector.py TRACE.parquet --layout META.yaml

Prints the table of docs/benchmarks.md, section Stability: least of five runs.
"""

import argparse
import time
from pathlib import Path

from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.audit.stability import measure_stability, weigh_policies
from loadpath.couple.steps import as_runs
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.fidelity import measure_fidelity

N_RUN = 5


def timed(work):
    work()
    runs = []
    for _ in range(N_RUN):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(wall for wall, _ in runs), min(cpu for _, cpu in runs)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("--layout", type=Path, required=True)
    options = parser.parse_args()
    settings = Settings(layout=options.layout)
    job = as_runs(couple_sources([options.source], settings, lambda _: None))
    effects, known = nest_effects(job), (measure_fidelity(job), "", settings)

    def vector(*, drawn):
        return measure_stability(job, effects, known, progress=lambda _: None, drawn=drawn)

    print("| what | wall s | processor s |")
    print("|---|---:|---:|")
    for what, work in {
        "the vector": lambda: vector(drawn=False),
        "with six loads and variance": lambda: vector(drawn=True),
        "with policies besides": lambda: weigh_policies(vector(drawn=True).footing, [0]),
    }.items():
        wall, cpu = timed(work)
        print(f"| {what} | {wall:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
