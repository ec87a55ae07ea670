"""Seeded synthetic jobs with a planted cause, executed with and without it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.testing.cause import Cause, Truth
from loadpath.testing.device_program import device_program
from loadpath.testing.execution import execute
from loadpath.testing.noise import draw_noise, noisy_durations, noisy_program
from loadpath.testing.planting import Site, choose_site, excess_weight
from loadpath.testing.program import Program
from loadpath.testing.shape import Shape, host_of, recorded_ranks
from loadpath.testing.worker_program import worker_program
from loadpath.units import NS_PER_S

__all__ = ["SyntheticJob", "make_job", "recorded_ns", "step_number"]

Int64Array = NDArray[np.int64]

TOLERANCE_RATIO, MAX_TRIALS = 0.01, 12
"""How well, and in how many executions, the size of an effect is met."""


@dataclass(frozen=True, slots=True)
class SyntheticJob:
    """An executed job and the truth about it.

    Attributes
    ----------
    name : str
        Name, made of cause and seed.
    seed : int
        Seed of all draws.
    shape : Shape
        Size and habits.
    stage_work : tuple of float
        Work of each stage.
    truth : Truth
        What an audit should find.
    op : polars.DataFrame
        What was executed, one row per task: its labels (``step`` is an index), ``start_ns`` and
        ``end_ns`` on one true clock.
    clock : polars.DataFrame
        ``rank``, ``offset_ns`` and ``drift_ppb`` of the clock that records each rank.
    """

    name: str
    seed: int
    shape: Shape
    stage_work: tuple[float, ...]
    truth: Truth
    op: pl.DataFrame
    clock: pl.DataFrame


def make_job(
    seed: int, *, cause: Cause | None = None, calibrate: bool = True, **shape: Any
) -> SyntheticJob:
    """Make a job, execute it without its cause, plant the cause, and execute it again.

    Parameters
    ----------
    seed : int
        Seed; equal arguments give equal jobs.
    cause : Cause, optional
        What to plant; nothing if None.
    calibrate : bool
        Choose the excess so that the mean step grows by ``cause.size``. If False, ``cause.size``
        is the excess itself, part of which slack may absorb.
    **shape
        Fields of `Shape`.

    Returns
    -------
    SyntheticJob
        Executed ops and truth.

    Examples
    --------
    >>> job = make_job(1, pp=1, dp=4, noise=0.0, cause=Cause("rank", 0.1, ranks=(2,)))
    >>> job.truth.ranks, round(job.truth.effect_ratio, 2)
    ((2,), 0.1)
    """
    form, fault = Shape(**shape), cause or Cause()
    stage_work, clock = _draw_setting(form, np.random.default_rng([seed, 0]))
    site = choose_site(form, fault, np.random.default_rng([seed, 2]))
    write = device_program if form.recorder == "kineto" else worker_program
    program = write(form, stage_work)
    attempt, without_s = _prepare(form, program, site, seed)
    excess = fault.size
    if calibrate and fault.size > 0 and fault.kind != "none":
        excess = _solve(lambda x: _step_s(program, *attempt(x)) / without_s - 1.0, fault.size)
    start, end = attempt(excess)
    truth = _truth(form, site, excess, (_step_s(program, start, end), without_s))
    op = program.task.with_columns(start_ns=pl.Series(start), end_ns=pl.Series(end))
    return SyntheticJob(f"{fault.kind}-{seed}", seed, form, stage_work, truth, op, clock)


def step_number(shape: Shape, step: int) -> int:
    """Return the number under which a step is recorded: op tables sample, Kineto does not.

    Parameters
    ----------
    shape : Shape
        Shape of the job.
    step : int
        Index of the step, 0 first.

    Returns
    -------
    int
        Step number.
    """
    return 16 + step + 5 * (step // 4) if shape.recorder == "op_table" else 3 + step


def recorded_ns(job: SyntheticJob) -> tuple[Int64Array, Int64Array]:
    """Return starts and ends as the clocks of the ranks record them.

    Parameters
    ----------
    job : SyntheticJob
        A job of `n_op` ops.

    Returns
    -------
    tuple of (n_op,) arrays of int64
        Start and end in ns, offset and drift included.
    """
    rows = job.op.select("rank").join(job.clock, on="rank", how="left", maintain_order="left")
    offset, drift = rows["offset_ns"].to_numpy(), rows["drift_ppb"].to_numpy()
    start, end = job.op["start_ns"].to_numpy(), job.op["end_ns"].to_numpy()
    return start + start * drift // NS_PER_S + offset, end + end * drift // NS_PER_S + offset


def _prepare(
    shape: Shape, program: Program, site: Site, seed: int
) -> tuple[Callable[[float], tuple[Int64Array, Int64Array]], float]:
    # Execution as a function of the excess, and the mean step without any.
    draws = draw_noise(program, np.random.default_rng([seed, 1]))
    noisy = noisy_program(shape, program, draws)
    healthy = noisy_durations(shape, program, draws, shape.noise)
    rng = np.random.default_rng([seed, 3])
    weight = excess_weight(shape, site, program.task, duration_ns=healthy, rng=rng)
    without_s = _step_s(program, *execute(noisy, np.rint(healthy).astype(np.int64)))

    def attempt(excess: float) -> tuple[Int64Array, Int64Array]:
        # Execute with an excess, given as a fraction of the step without the cause.
        duration = healthy + weight * (excess * without_s * NS_PER_S)
        if site.cause.kind == "jitter":
            noise = float(np.hypot(shape.noise, excess))
            duration = noisy_durations(shape, program, draws, noise)
        return execute(noisy, np.rint(duration).astype(np.int64))

    return attempt, without_s


def _solve(effect: Callable[[float], float], size: float) -> float:
    # Excess whose effect is `size`: the effect is convex in it, so secants close in.
    low, low_effect, trial = 0.0, 0.0, size
    for _ in range(MAX_TRIALS):
        reached = effect(trial)
        if abs(reached - size) <= TOLERANCE_RATIO * size:
            break
        slope = (reached - low_effect) / (trial - low)
        following = trial + (size - reached) / slope if slope > 1e-3 else 4.0 * trial
        low, low_effect, trial = trial, reached, min(max(following, trial / 4), 4 * trial)
    return trial


def _step_s(program: Program, start: Int64Array, end: Int64Array) -> float:
    # Mean over steps of the time from the earliest start to the latest end.
    times = pl.DataFrame({"step": program.task["step"], "start": start, "end": end})
    span = pl.col("end").max() - pl.col("start").min()
    return float(times.group_by("step").agg(span)["end"].to_numpy().mean()) / NS_PER_S


def _draw_setting(shape: Shape, rng: np.random.Generator) -> tuple[tuple[float, ...], pl.DataFrame]:
    # Work of the stages, and the clocks.
    work = np.ones(shape.pp)
    if shape.pp > 2:
        work[rng.integers(shape.pp)] -= shape.stage_spread * rng.random()
    ranks = [rank for rank, *_ in recorded_ranks(shape)]
    # a host has one clock, whatever runs on it
    hosts, on = np.unique([host_of(shape, rank) for rank in ranks], return_inverse=True)
    skewed = (rng.permutation(hosts.size) < round(shape.skewed_ratio * hosts.size))[on]
    offset = (rng.uniform(-shape.skew_s, shape.skew_s, hosts.size) * NS_PER_S)[on]
    drift = (rng.uniform(-shape.drift_ppm, shape.drift_ppm, hosts.size) * 1000)[on]
    clock = pl.DataFrame(
        {
            "rank": pl.Series(ranks, dtype=pl.Int32),
            "offset_ns": np.where(skewed, np.rint(offset), 0).astype(np.int64),
            "drift_ppb": np.where(skewed, np.rint(drift), 0).astype(np.int64),
        }
    )
    return shape.stage_work or tuple(work.tolist()), clock


def _truth(shape: Shape, site: Site, excess: float, step_s: tuple[float, float]) -> Truth:
    return Truth(
        kind=site.cause.kind,
        place=site.place,
        mechanism=site.mechanism,
        ranks=site.ranks,
        hosts=site.hosts,
        stage=site.stage,
        link=site.link,
        steps=tuple(step_number(shape, step) for step in site.steps),
        excess_ratio=excess,
        step_s=step_s[0],
        step_s_without=step_s[1],
    )
