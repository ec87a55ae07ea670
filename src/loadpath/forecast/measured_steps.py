"""Measured steps of a design: the runs as designs, the priors they set, and the worlds they leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from loadpath.errors import InputError, UsageError
from loadpath.forecast.calibration import CALIBRATED_RATE, Calibration, MeasuredStep, calibrate
from loadpath.forecast.design import Design
from loadpath.forecast.design_checks import check_design
from loadpath.forecast.layout import lay_out
from loadpath.forecast.priors import Prior
from loadpath.forecast.sizes import goal_of, resize
from loadpath.tables.measured import RUN_POINT

__all__ = [
    "LEAST_ERROR",
    "Measured",
    "calibrate_runs",
    "condition",
    "designs_of_runs",
    "measured_of",
    "recentred",
    "runs_of",
]

Array = NDArray[np.float64]
LEAST_ERROR = 0.005
"""Standard deviation of the logarithm of a measured step, at least: what medians of runs differ by."""

REMEDY = "Give runs of this design: accelerators, batch and parallelism that it can have."


@dataclass(frozen=True, slots=True)
class Measured:
    """A step that was measured.

    Attributes
    ----------
    design : Design
        What ran.
    error : float
        Standard deviation of the logarithm of its time.
    """

    design: Design
    error: float


def designs_of_runs(design: Design, runs: pl.DataFrame, where: str) -> list[MeasuredStep]:
    """Give each measured run its design.

    Parameters
    ----------
    design : Design
        The job; its parallelism and batch are those of a run where the run tells none.
    runs : polars.DataFrame
        Table `RUN_POINT`.
    where : str
        How errors call the runs: their file.

    Returns
    -------
    list of MeasuredStep
        In the order of the table.

    Raises
    ------
    InputError
        If the design cannot have been run so; all such runs are named.
    """
    found, problems = [], []
    for place, row in enumerate(runs.iter_rows(named=True), start=1):
        try:
            ran = _design_of(design, row)
        except UsageError as error:
            problems.append(f"run {place}: {error}")
            continue
        wrong = check_design(ran)
        problems += [f"run {place}: {'.'.join(map(str, p.path))} {p.what}" for p in wrong]
        found.append(MeasuredStep(ran, float(row["step_s"])))
    if problems:
        raise InputError(where, problems, REMEDY)
    return found


def _design_of(design: Design, row: dict[str, int | float | None]) -> Design:
    told = {"tensor": row["tp"], "pipeline": row["pp"], "context": row["cp"]}
    parallelism = replace(
        design.parallelism, **{name: int(value) for name, value in told.items() if value}
    )
    ran = resize(replace(design, parallelism=parallelism), int(row["n"] or 0), goal_of(design))
    if ran.batch is None:
        return ran
    sequences = int(row["global_batch"] or ran.batch.sequences)
    microbatch = ran.batch.microbatch
    if row["microbatches"]:
        replicas = ran.cluster.accelerators // (
            parallelism.tensor * parallelism.pipeline * parallelism.context
        )
        passes = max(replicas, 1) * int(row["microbatches"])
        if sequences % passes:
            raise UsageError(
                f"{sequences} sequences are not {row['microbatches']} microbatches of "
                f"{max(replicas, 1)} replicas"
            )
        microbatch = sequences // passes
    return replace(ran, batch=replace(ran.batch, sequences=sequences, microbatch=microbatch))


def runs_of(steps: Sequence[MeasuredStep]) -> pl.DataFrame:
    """Give steps the form of measured runs, with what their designs tell.

    Parameters
    ----------
    steps : sequence of MeasuredStep
        Designs and times.

    Returns
    -------
    polars.DataFrame
        Table `RUN_POINT`.
    """
    rows = [{**_run_of(step.design), "step_s": step.step_s} for step in steps]
    columns = {name: [row.get(name) for row in rows] for name in RUN_POINT.schema}
    return RUN_POINT.validate(pl.DataFrame(columns, schema=RUN_POINT.schema))


def _run_of(design: Design) -> dict[str, float | None]:
    p, batch = design.parallelism, design.batch
    trains = batch is not None and design.serving is None and design.model is not None
    return {
        "n": design.cluster.accelerators,
        "microbatches": lay_out(design).microbatches if trains else None,
        "tp": p.tensor,
        "pp": p.pipeline,
        "cp": p.context,
        "global_batch": batch.sequences if trains and batch is not None else None,
    }


def calibrate_runs(measured: Sequence[MeasuredStep]) -> Calibration:
    """Set as many priors as measured runs can tell apart.

    Parameters
    ----------
    measured : sequence of MeasuredStep
        Runs and their designs.

    Returns
    -------
    Calibration
        One prior for runs of one step time; two where there are two runs or more.
    """
    distinct = len({step.step_s for step in measured})
    return calibrate(measured, None if distinct > 1 else (CALIBRATED_RATE,))


def recentred(
    priors: Mapping[str, Prior], values: Mapping[str, float], source: str
) -> dict[str, Prior]:
    """Move the calibrated priors to what was measured; their spread, before it, stays.

    Parameters
    ----------
    priors : mapping of str to Prior
        Of the design before.
    values : mapping of str to float
        Values that meet what was measured.
    source : str
        What that was.

    Returns
    -------
    dict of str to Prior
        For `condition`, which narrows them.
    """
    moved = dict(priors)
    for name, value in values.items():
        prior = priors[name]
        moved[name] = Prior(
            name=name,
            value=value,
            low=max(value - (prior.value - prior.low), value / 2),
            high=value + max(prior.high - prior.value, prior.value - prior.low),
            unit=prior.unit,
            about=prior.about,
            source=source,
        )
    return moved


def condition(
    errors: Array, n_size: int, noise: Sequence[float], rng: np.random.Generator
) -> Array:
    """Move sampled errors to where they agree with what was measured.

    Parameters
    ----------
    errors : ndarray of float, shape (n_world, n_size + n_measured)
        Logarithms at the sizes, then at what was measured, where the middle one is met.
    n_size : int
        How many of them are sizes.
    noise : sequence of float, length n_measured
        Standard deviation of each measured logarithm.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of float, shape (n_world, n_size)
        Of median 0 at each size.

    References
    ----------
    .. [1] A. G. Journel, C. J. Huijbregts, "Mining Geostatistics", 1978: conditional simulation by
       kriging the difference between a sample and the data (Matheron).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> one = 0.1 * rng.standard_normal((1000, 1))
    >>> free, bound = np.tile(one, 2), condition(np.tile(one, 2), 1, [0.01], rng)
    >>> bool(bound.std() < 0.15 * free.std())
    True
    """
    # What is not known is lopsided: of the sum of it the middle world is the replayed one.
    middled = errors - np.median(errors, axis=0)
    here, seen = middled[:, :n_size], middled[:, n_size:]
    if not len(noise):
        return here
    joint = np.cov(errors, rowvar=False).reshape(errors.shape[1], errors.shape[1])
    between, among = joint[:n_size, n_size:], joint[n_size:, n_size:]
    variance = np.square(np.asarray(noise, dtype=np.float64))
    gain = np.linalg.solve(among + np.diag(variance), between.T)
    shown = seen + np.sqrt(variance) * rng.standard_normal(seen.shape)
    bound = here - shown @ gain
    return np.asarray(bound - np.median(bound, axis=0))


def measured_of(
    runs: Sequence[MeasuredStep], calibration: Calibration | None
) -> tuple[Measured, ...]:
    """Say how well each measured step is known, once priors met it.

    Parameters
    ----------
    runs : sequence of MeasuredStep
        Runs and their designs.
    calibration : Calibration or None
        What they set.

    Returns
    -------
    tuple of Measured
        Designs with the calibrated priors; none without a calibration.
    """
    if calibration is None:
        return ()
    left = np.square(calibration.error_ratio).sum() / max(len(runs) - len(calibration.priors), 1)
    error = max(float(np.sqrt(left)), LEAST_ERROR)
    return tuple(
        Measured(replace(run.design, priors={**run.design.priors, **calibration.priors}), error)
        for run in runs
    )
