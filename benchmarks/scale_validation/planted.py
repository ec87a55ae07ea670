"""Synthetic families with a known optimum, and without one: how often the bands hold it."""

import numpy as np
import polars as pl

from loadpath.forecast.baselines import choose_baseline, fit_baselines
from loadpath.forecast.inversion import find_inversions
from loadpath.forecast.measured_curve import curve_of_runs
from loadpath.tables.measured import RUN_POINT
from scale_validation.rows import markdown

MEASURED = np.array((64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536))
FINE = np.unique(np.geomspace(64, 2048, 41).astype(int))
N_SEED = 100
FAMILIES = {
    "640 / n + 1 + n / 1000": (640.0, 1.0, 1e-3),
    "2560 / n + 2 + n / 400": (2560.0, 2.0, 2.5e-3),
    "640 / n + 1 (no optimum of throughput)": (640.0, 1.0, 0.0),
    "640 / n (no inversion at all)": (640.0, 0.0, 0.0),
}


def runs(step_s):
    told = {"n": MEASURED, "step_s": step_s}
    return pl.DataFrame(told).select(
        pl.col(name).cast(dtype) if name in told else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in RUN_POINT.schema.items()
    )


def truth(a, b, c):
    """Where throughput is highest, and where a / n + b + c n costs 1.2 times the best."""
    excess = 1.2 * (a + b * FINE[0] + c * FINE[0] ** 2) - a
    top = np.sqrt(a / c) if c else None
    if c:
        return top, (-b + np.sqrt(b * b + 4 * c * excess)) / (2 * c)
    return None, excess / b if b else None


def held(flag, place):
    if place is None or flag is None:
        return place is None and flag is None
    return flag.low <= place <= (flag.high or np.inf)


def judge(_):
    rows = []
    for noise in (0.01, 0.03):
        for name, (a, b, c) in FAMILIES.items():
            top, average = truth(a, b, c)
            hits = []
            for seed in range(N_SEED):
                rng = np.random.default_rng(seed)
                step_s = (a / MEASURED + b + c * MEASURED) * np.exp(rng.normal(0, noise, 10))
                best = choose_baseline(fit_baselines(runs(step_s)))
                curve = curve_of_runs(best, FINE, lambda _: {}, np.random.default_rng(0))
                found = find_inversions(curve.n, 1 / curve.step_s)
                hits.append((held(found.throughput, top), held(found.average, average)))
            share = np.mean(hits, axis=0)
            rows.append(
                (name, f"{noise:.0%}", *("none" if p is None else f"{p:.0f}" for p in (top, average)),
                 *(f"{s:.0%}" for s in share))
            )  # fmt: skip
    head = ("step s on n", "noise", "throughput falls from", "average cost inverts at",
            "first held", "second held")  # fmt: skip
    return (
        "## Planted optima\n\nAsked: planted optima inside the band, none where there is none. Ten "
        f"noisy runs each, {N_SEED} seeds; the baseline is chosen from the runs; 90 % bands. Where there "
        'is none, "held" means that no flag was raised.\n\n' + markdown(head, rows) + "\n"
    )
