"""A request trace through the shipped serving example: what each tensor width keeps up with, and its price.

python benchmarks/serving_widths.py TRACE.csv.gz [--rate 2.5]

Prints the tables of docs/forecast/serving.md.
"""

import argparse
import time
from importlib.resources import files
from pathlib import Path

from msgspec.structs import replace

from loadpath.forecast import parse_design
from loadpath.forecast.design import Prices
from loadpath.forecast.request_queue import Service
from loadpath.forecast.serving_curve import serving_capacity, serving_curve
from loadpath.ingest.request_trace import read_requests

WIDTHS, LOADS = (1, 2, 4, 8), (0.5, 1.0, 1.5, 2.0)
PROMISES = ((0.5, 0.03), (1.0, 0.05), (5.0, 0.2))


def curve(design, requests):
    """Print tails and prices by width and load."""
    found = serving_curve(
        design, requests, WIDTHS, loads=LOADS, service=Service(ttft_s=1.0, tpot_s=0.05)
    )
    print("| width | requests/s | TTFT p50 | TTFT p99 s | TPOT p50 | TPOT p99 ms | good | USD per million, good |")  # fmt: skip
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for r in found.points.iter_rows(named=True):
        print(
            f"| {r['tensor']} | {r['requests_per_s']:.1f} | {r['ttft_p50_s']:.2f} | {r['ttft_p99_s']:.2f} "
            f"({r['ttft_p99_low_s']:.2f} to {r['ttft_p99_high_s']:.2f}) | {1e3 * r['tpot_p50_s']:.0f} | "
            f"{1e3 * r['tpot_p99_s']:.0f} ({1e3 * r['tpot_p99_low_s']:.0f} to "
            f"{1e3 * r['tpot_p99_high_s']:.0f}) | {100 * r['good_ratio']:.1f} % | "
            f"{r['cost_per_million']:.2f}, {r['cost_per_good_million']:.2f} |"
        )
    print("\n" + "\n".join(found.refused) + "\n")


def capacity(design, requests):
    """Print what each width keeps up with under three promises."""
    print("| TTFT, TPOT promised | width | requests/s kept up with | USD per million tokens |")
    print("|---|---:|---:|---:|")
    for ttft, tpot in PROMISES:
        found = serving_capacity(
            design, requests, WIDTHS, service=Service(ttft_s=ttft, tpot_s=tpot)
        )
        for r in found.points.iter_rows(named=True):
            price = "" if r["cost_per_million"] is None else f"{r['cost_per_million']:.2f}"
            print(
                f"| {ttft:g} s, {1e3 * tpot:g} ms | {r['tensor']} | {r['requests_per_s']:.1f} "
                f"({r['requests_low_per_s']:.1f} to {r['requests_high_per_s']:.1f}) | {price} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("trace", type=Path)
    parser.add_argument("--rate", type=float, default=2.5)
    given = parser.parse_args()
    text = files("loadpath.forecast").joinpath("examples/serving.toml").read_text(encoding="utf-8")
    design = replace(parse_design(text), prices=Prices(accelerator_hour=given.rate))
    requests = read_requests(given.trace)
    start = time.perf_counter()
    curve(design, requests)
    capacity(design, requests)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
