"""Measured runs beside the forecast and the baseline, neither of which they set."""

from collections.abc import Callable, Sequence

import numpy as np

from loadpath.forecast.baselines import Baseline
from loadpath.forecast.calibration import MeasuredStep
from loadpath.forecast.design import Design
from loadpath.forecast.measured_steps import runs_of
from loadpath.forecast.outlook import Outlook

__all__ = ["held_against"]


def held_against(
    runs: Sequence[MeasuredStep],
    outlook: Outlook,
    baselines: Sequence[Baseline],
    *,
    on_curve: Callable[[Design], bool],
    level: float,
) -> tuple[dict[str, float | int | bool | None], ...]:
    """Put measured runs beside forecasts that they did not set.

    Parameters
    ----------
    runs : sequence of MeasuredStep
        Runs and their designs, those held out of the outlook.
    outlook : Outlook
        Curves and chances.
    baselines : sequence of Baseline
        Curves without structure, the chosen one first.
    on_curve : callable of Design to bool
        Whether a run did the work that the forecast does at its size.
    level : float
        Share of the worlds inside the band.

    Returns
    -------
    tuple of dict
        Size, measured and forecast time, error, that of the baseline, and whether the band holds what
        was measured.
    """
    rows = []
    others = baselines[0].step_s(runs_of(runs)).tolist() if baselines else [None] * len(runs)
    steps = [point.step_s for point in outlook.held]
    for run, forecast, error, other in zip(runs, steps, outlook.held_errors.T, others, strict=True):
        low, high = np.quantile(error, [(1 - level) / 2, (1 + level) / 2])
        off = float(np.log(run.step_s / forecast))
        rows.append(
            {
                "n": run.design.cluster.accelerators,
                "step_s": run.step_s,
                "forecast_s": forecast,
                "error_ratio": forecast / run.step_s - 1,
                "baseline_error_ratio": None if other is None else other / run.step_s - 1,
                "on_curve": on_curve(run.design),
                "in_band": bool(low <= off <= high),
            }
        )
    return tuple(rows)
