"""How often published steps lie inside the 90 % band of a forecast from data sheets alone.

LOADPATH_DATA=FOLDER python benchmarks/forecast_bands.py [EVERY]   (every sixth row of long tables)
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from forecast_cases import Case
from forecast_validation import UNCALIBRATED

from loadpath.forecast import step_time
from loadpath.forecast.design import Design
from loadpath.forecast.outlook import draw_normals, world_keys
from loadpath.forecast.scaling import step_errors
from loadpath.forecast.step_point import design_priors, step_point

LONG, LEVEL, WORLDS = 60, 0.9, 512
HEAD = """# Bands of the forecast, row by row

Made by `LOADPATH_DATA=FOLDER python benchmarks/forecast_bands.py`: published steps beside the 90 % band of their
forecast from data sheets alone (nothing of a row is known but its design). Asked: 80 to 97 % of the rows inside.
Of tables with more than 60 rows every sixth stands here. `model_error` was set on these tables, so that the first
column is no test of it but of what it leaves; the second leaves it out of the band. Where the text of a row leaves a
choice open (which kernel of attention ran in GPT-OSS) the worlds of all its designs are pooled, each as likely. Of all
169 rows of Megatron-Bridge, not the sixth part below, 88 % lie inside (experts of Qwen3: 71 %; of dense models: 98 %);
without the open choice it would be 72 %. Bands of curves of measured runs,
of collectives, of MLPerf times and of audited steps, each with its misses, are in
[validation_scale.md](validation_scale.md) and [audited_job.md](forecast/audited_job.md#held-out).
"""


def worlds(design: Design, *, whole: bool) -> np.ndarray:
    """Sample the logarithm of the step, with or without the error of the model itself."""
    priors = design_priors(design)
    point, _ = step_point(design, priors)
    normals = draw_normals(world_keys(priors), 0, WORLDS)
    shifts = {k: v for k, v in point.shifts.items() if whole or not k.startswith("model_error")}
    errors = step_errors(
        [point._replace(shifts=shifts, band_factor=1.0)], np.zeros((WORLDS, 1)), normals
    )[:, 0]
    return errors - np.median(errors) + np.log(point.step_s)


def band(case: Case, *, whole: bool) -> np.ndarray:
    """Give the edges of the band in s: all designs that the text of a row allows are as likely."""
    sampled = [worlds(design, whole=whole) for design in (case.design, *case.others)]
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return np.exp(np.quantile(np.concatenate(sampled), edges))


class Row(NamedTuple):
    """One published step beside its forecast; edges with and without the error of the model."""

    name: str
    measured_s: float
    forecast_s: float
    edges: tuple[np.ndarray, np.ndarray]

    def inside(self) -> list[bool]:
        return [low <= self.measured_s <= high for low, high in self.edges]

    def words(self) -> str:
        low, high = self.edges[0]
        miss = "" if self.inside()[0] else " miss"
        return (
            f"| {self.name} | {self.measured_s:.4g} | {self.forecast_s:.4g} | {low:.4g} to {high:.4g} |"
            f"{miss} |"
        )


def row_of(case: Case) -> Row:
    """Forecast one row."""
    edges = (band(case, whole=True), band(case, whole=False))
    return Row(case.label, case.step_s, step_time(case.design).step_s, edges)


def main() -> None:
    folder = Path(os.environ["LOADPATH_DATA"]) / "tables"
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    found = {}
    for name, (cases, _) in UNCALIBRATED.items():
        rows = list(cases(folder))
        some = rows[::every] if len(rows) > LONG else rows
        found[name] = [row_of(case) for case in some]
    print(HEAD)
    print("| table | rows | inside % | inside without model_error % |\n|---|---:|---:|---:|")
    everything = [row for rows in found.values() for row in rows]
    for name, rows in (*found.items(), ("all", everything)):
        whole, bare = 100 * np.mean([row.inside() for row in rows], axis=0)
        print(f"| {name} | {len(rows)} | {whole:.0f} | {bare:.0f} |")
    for name, rows in found.items():
        print(
            f"\n## {name}\n\n| row | measured s | forecast s | 90 % band s | |\n|---|---:|---:|---:|---|"
        )
        print("\n".join(row.words() for row in rows))


if __name__ == "__main__":
    main()
