"""Time of a forecast: one design again and again, and a search among layouts and sizes.

python benchmarks/forecast_speed.py [--processes 2]
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.resources import files
from statistics import median

from loadpath.forecast import Design, parse_design, step_time
from loadpath.forecast.search import search
from loadpath.forecast.search_space import default_space

SIZES = tuple(64 * n for n in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256))


@cache
def dense() -> Design:
    text = files("loadpath.forecast").joinpath("examples/dense.toml").read_text(encoding="utf-8")
    return parse_design(text)


def part(sizes: tuple[int, ...]) -> tuple[int, int, float]:
    """Search the layouts of some sizes; give how many were timed and refused, and the best."""
    found = search(dense(), default_space(dense(), sizes))
    return (
        found.layouts.height,
        found.refused["count"].sum(),
        found.layouts["accelerator_s_per_unit"].min(),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
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
    with ProcessPoolExecutor(given.processes) as pool:
        found = list(
            pool.map(part, [SIZES[at :: 2 * given.processes] for at in range(2 * given.processes)])
        )
    wall = time.perf_counter() - start
    timed, refused, best = map(tuple, zip(*found, strict=True))
    print(
        f"{sum(timed)} layouts timed, {sum(refused)} refused, in {wall:.1f} s on {given.processes} "
        f"processes: {1e3 * wall / sum(timed):.2f} ms each; best {1e3 * min(best):.3f} ms a token"
    )


if __name__ == "__main__":
    main()
