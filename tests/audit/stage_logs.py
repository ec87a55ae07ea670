"""Stage logs of a data-parallel job whose ranks meet at the end of the backward pass."""

import numpy as np
import polars as pl

MEAN_MS = {
    "input": 2.0,
    "copy": 0.5,
    "forward": 10.0,
    "backward": 20.0,
    "optimizer": 3.0,
    "other": 0.3,
}


def stage_log(fault="", *, rank=2, ms=8.0, apart=True, seed=0, steps=40, ranks=4, share=1.0):
    """Table of a log; with `apart` waiting is a stage of its own, else part of the backward pass."""
    rng = np.random.default_rng(seed)
    clock, rows = np.zeros(ranks), []
    for step in range(steps):
        spent = {name: mean * np.exp(rng.normal(0, 0.03, ranks)) for name, mean in MEAN_MS.items()}
        if fault and rng.random() < share:
            for name in fault.split("+"):
                spent[name][rank] += ms
        came = clock + sum(spent[name] for name in ("input", "copy", "forward", "backward"))
        left = came.max() + 2.0 + rng.exponential(0.05, ranks)
        wait = left - came
        clock = left + spent["optimizer"] + spent["other"]
        if apart:
            spent = {n: v for n, v in spent.items() if n not in {"optimizer", "other"}} | {
                "wait": wait, "optimizer": spent["optimizer"], "other": spent["other"],
            }  # fmt: skip
        else:
            spent["backward"] = spent["backward"] + wait
        rows += [
            {"rank": r, "step": step} | {f"{n}_ms": float(v[r]) for n, v in spent.items()}
            for r in range(ranks)
        ]
    return pl.DataFrame(rows)
