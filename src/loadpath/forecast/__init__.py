"""Forecast: step time, cost and risk of a job against its size, before it runs.

A design becomes a coupled graph of one step, which the same replay times; what is built on a step time
has a module for each quantity (docs/forecast).
`design` says what a design is, `design_file` reads one, `design_checks` says what is wrong with it;
`transformer`, `layer_work` and `memory` count, `rates` and `fabric` time kernels and collectives,
`pipeline` couples a training step, `training`, `serving` and `stencil` give its ops durations, `step`
replays them, `calibration` fits named priors to measured steps. `search` sorts layouts of a design,
`noisy_step` draws steps of all its ranks, `serving_curve` replays requests; `measured_pipeline`, `audited_job`
and `measured_classes` take what an audited job tells, `measured_links` what measured collectives do;
`known_job` is a job without a design: `audited_curve` of a record, `measured_job` of runs alone.
"""

from loadpath.forecast.calibration import (
    CALIBRATED_RATE,
    SECOND_PRIORS,
    Calibration,
    MeasuredStep,
    calibrate,
)
from loadpath.forecast.design import Design
from loadpath.forecast.design_checks import Problem, check_design
from loadpath.forecast.design_file import parse_design
from loadpath.forecast.step import StepForecast, step_time

__all__ = [
    "CALIBRATED_RATE",
    "SECOND_PRIORS",
    "Calibration",
    "Design",
    "MeasuredStep",
    "Problem",
    "StepForecast",
    "calibrate",
    "check_design",
    "parse_design",
    "step_time",
]
