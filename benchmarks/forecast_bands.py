"""How often published steps lie inside the 90 % band of a forecast from data sheets alone.

LOADPATH_DATA=FOLDER python benchmarks/forecast_bands.py [EVERY]   (every sixth row of long tables)
"""

import os
import sys
from pathlib import Path

import numpy as np
from forecast_validation import UNCALIBRATED

from loadpath.forecast.outlook import draw_normals, world_keys
from loadpath.forecast.scaling import StepPoint, step_errors
from loadpath.forecast.step_point import design_priors, step_point

LONG, LEVEL, WORLDS = 60, 0.9, 512


def band(point: StepPoint, normals: dict[str, np.ndarray], *, whole: bool) -> np.ndarray:
    """Give the edges of the band, with and without the error of the model itself."""
    shifts = {k: v for k, v in point.shifts.items() if whole or not k.startswith("model_error")}
    errors = step_errors(
        [point._replace(shifts=shifts, band_factor=1.0)], np.zeros((WORLDS, 1)), normals
    )[:, 0]
    return np.quantile(errors - np.median(errors), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])


def main() -> None:
    folder = Path(os.environ["LOADPATH_DATA"]) / "tables"
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    print("| table | rows | inside % | inside without model_error % |\n|---|---:|---:|---:|")
    everything = []
    for name, (cases, _) in UNCALIBRATED.items():
        rows = list(cases(folder))
        found = []
        for case in rows[::every] if len(rows) > LONG else rows:
            priors = design_priors(case.design)
            point, _ = step_point(case.design, priors)
            normals = draw_normals(world_keys(priors), 0, WORLDS)
            off = np.log(case.step_s / point.step_s)
            edges = [band(point, normals, whole=whole) for whole in (True, False)]
            found.append([low <= off <= high for low, high in edges])
        everything += found
        whole, bare = 100 * np.mean(found, axis=0)
        print(f"| {name} | {len(found)} | {whole:.0f} | {bare:.0f} |")
    whole, bare = 100 * np.mean(everything, axis=0)
    print(f"| all | {len(everything)} | {whole:.0f} | {bare:.0f} |")


if __name__ == "__main__":
    main()
