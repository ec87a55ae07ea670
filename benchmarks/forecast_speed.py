"""Time of a forecast: one design again and again, and a sweep over layouts.

python benchmarks/forecast_speed.py [--designs 10000] [--processes 2]
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.resources import files
from itertools import product
from statistics import median

from msgspec.structs import replace

from loadpath.forecast import Design, check_design, parse_design, step_time


@cache
def dense() -> Design:
    text = files("loadpath.forecast").joinpath("examples/dense.toml").read_text(encoding="utf-8")
    return parse_design(text)


def layouts(count: int) -> list[Design]:
    """List sound layouts of the dense example, of all sizes, in the order of their parameters."""
    base, found = dense(), []
    choices = product(
        (128, 256, 512, 1024, 2048, 4096, 8192, 16384), (1, 2, 4, 8), (1, 2, 4, 8, 12, 16),
        (1, 2, 3, 4, 6, 12), (1, 2, 4), ("optimizer", "full"), ("none", "selective", "full"),
        ("pipelined", "none"), (2048, 4096, 3072, 6144), (True, False),
    )  # fmt: skip
    for n, tensor, pipeline, chunks, micro, sharding, again, overlap, sequences, data in choices:
        parallelism = replace(
            base.parallelism, tensor=tensor, pipeline=pipeline, chunks=chunks, sharding=sharding,
            recompute=again, tensor_overlap=overlap, data_overlap=data,
        )  # fmt: skip
        design = replace(
            base,
            cluster=replace(base.cluster, accelerators=n, tiers=()),
            parallelism=parallelism,
            batch=replace(base.batch, sequences=sequences, microbatch=micro),
        )
        if not check_design(design):
            found.append(design)
    stride = max(1, len(found) // count)
    return found[::stride][:count]


def steps(designs: list[Design]) -> list[float]:
    return [step_time(design, condensed=True).step_s for design in designs]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--designs", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    start = time.perf_counter()
    step_time(dense())
    print(f"first forecast {1e3 * (time.perf_counter() - start):.0f} ms (kernels loaded)")
    times = []
    for _ in range(50):
        start = time.perf_counter()
        step_time(dense())
        times.append(time.perf_counter() - start)
    print(f"dense example {1e3 * median(times):.2f} ms, with limitation and memory")
    start = time.perf_counter()
    designs = layouts(given.designs)
    print(f"{len(designs)} sound layouts found in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    with ProcessPoolExecutor(given.processes) as pool:
        size = -(-len(designs) // (8 * given.processes))
        parts = [designs[at : at + size] for at in range(0, len(designs), size)]
        found = [value for part in pool.map(steps, parts) for value in part]
    wall = time.perf_counter() - start
    print(
        f"swept in {wall:.1f} s on {given.processes} processes: {1e3 * wall / len(found):.2f} ms each"
    )
    print(f"best {min(found):.3f} s a step, worst {max(found):.3f} s")


if __name__ == "__main__":
    main()
