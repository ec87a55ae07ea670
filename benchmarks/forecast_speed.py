"""Time of a forecast: one design again and again, a search among layouts and sizes, noise on all ranks.

python benchmarks/forecast_speed.py [--processes 2]
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.resources import files
from statistics import median

import numpy as np

from loadpath.forecast import Design, parse_design, step_time
from loadpath.forecast.design import Batch, Cluster, Noise, Parallelism, Transformer
from loadpath.forecast.noisy_step import noisy_steps_s
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


def noisy() -> None:
    """Time 256 noisy steps of 16,384 ranks that are laid out one by one."""
    model = Transformer(
        layers=32, hidden=4096, heads=32, kv_heads=8, feed_forward=14336, sequence=8192,
        vocabulary=128256, gated=True, rotary=True, tied_embeddings=False,
    )  # fmt: skip
    for sharding, pipeline, microbatches in (
        ("optimizer", 1, 4),
        ("optimizer", 4, 16),
        ("full", 1, 1),
    ):
        design = Design(
            name="Llama 3 8B",
            model=model,
            cluster=Cluster(device="H100-SXM5-80GB", accelerators=16384),
            batch=Batch(sequences=16384 // pipeline * microbatches),
            parallelism=Parallelism(sharding=sharding, pipeline=pipeline),
            noise=Noise(variation_ratio=0.02),
        )
        calm, start = step_time(design).step_s, time.perf_counter()
        steps = noisy_steps_s(design, np.random.default_rng(0), n_scenario=256)
        print(
            f"16,384 ranks, {pipeline} stages, {microbatches} microbatches, sharding {sharding}: 256 steps "
            f"in {time.perf_counter() - start:.1f} s, mean {steps.mean():.3f} s, without noise {calm:.3f} s"
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
    noisy()


if __name__ == "__main__":
    main()
