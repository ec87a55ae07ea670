"""A job of which runs alone are known: the curve that predicts best, beyond what was measured."""

from collections.abc import Callable, Iterable, Mapping
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.baselines import Baseline, choose_baseline, fit_baselines
from loadpath.forecast.known_job import NODE_SIZE, KnownJob, draw_worlds
from loadpath.forecast.measured_curve import curve_of_runs, planned
from loadpath.forecast.priors import Prior, shipped_priors
from loadpath.forecast.sizes import Goal, Skipped
from loadpath.forecast.step_point import prior_key
from loadpath.price.tariff import Tariff

__all__ = ["goal_of_runs", "job_of_runs", "sizes_of_runs"]

DOUBLINGS = 3
ASSUMPTIONS = (
    "the curve that predicts left-out runs best holds beyond them too",
    f"{NODE_SIZE} accelerators fail together; failures arrive without memory, and are those of priors",
)
Array = NDArray[np.float64]
Row = Mapping[str, float | int | None]


def goal_of_runs(runs: pl.DataFrame) -> Goal:
    """Say how the work of measured runs grows.

    Parameters
    ----------
    runs : polars.DataFrame
        Table `RUN_POINT`.

    Returns
    -------
    {"strong", "weak"}
        Weak where the batch is told and grows with the size, in the same ratio throughout; else strong.
    """
    if runs["global_batch"].null_count() or runs["global_batch"].n_unique() == 1:
        return "strong"
    ratio = runs.select((pl.col("global_batch") / pl.col("n")).n_unique())
    return "weak" if ratio.item() == 1 else "strong"


def sizes_of_runs(runs: pl.DataFrame) -> tuple[int, ...]:
    """Choose the measured sizes, and larger ones.

    Parameters
    ----------
    runs : polars.DataFrame
        Table `RUN_POINT`.

    Returns
    -------
    tuple of int
        Those measured, and up to eight times the largest, doubling.
    """
    measured = runs["n"].unique().sort().to_list()
    return (*measured, *(measured[-1] << k for k in range(1, DOUBLINGS + 1)))


def job_of_runs(
    name: str,
    runs: pl.DataFrame,
    sizes: Iterable[int],
    *,
    goal: Goal,
    worlds: tuple[int, int],
    tariff: Tariff | None = None,
) -> tuple[KnownJob, tuple[Baseline, ...]]:
    """Draw the worlds that measured runs leave open, by the curve that predicts left-out ones best.

    Parameters
    ----------
    name : str
        File of the runs.
    runs : polars.DataFrame
        Table `RUN_POINT`.
    sizes : iterable of int
        Accelerators.
    goal : {"strong", "weak"}
        Whether the batch stays that of the largest run, or grows with the size.
    worlds : (int, int)
        Seed of the draws, and how many.
    tariff : Tariff, optional
        Prices.

    Returns
    -------
    KnownJob
        Its work counted in samples, or in steps where no batch is told.
    tuple of Baseline
        The curves, the chosen one first.

    Raises
    ------
    InputError
        If there are fewer than two sizes, or some runs tell their batch and others do not.
    UsageError
        If the job can be at none of the sizes.
    """
    baselines = tuple(fit_baselines(runs))
    best = choose_baseline(list(baselines))
    last = runs.sort("n", maintain_order=True).row(-1, named=True)
    plan = _planner(runs, last, goal, needs_passes=best.name == "affine")
    asked, skipped = _split(sizes, plan)
    n = np.array(asked, dtype=np.int64)
    now = int(np.argmin(np.abs(n - last["n"])))
    rng = np.random.default_rng([worlds[0], crc32(b"runs")])
    error = shipped_priors()["model_error"]
    curve = curve_of_runs(best, n, plan, rng, n_sample=worlds[1], prior_factor=error.high)
    is_known = bool(np.all(np.isfinite(best.band_factor(planned(n, plan)))))
    priors, normals = _worlds(curve.step_s[:, now], worlds, None if is_known else error)
    job = KnownJob(
        name=name, kind="measured", unit="step" if last["global_batch"] is None else "sample",
        goal=goal, now=now, curve=curve, sizes=planned(n, plan),
        priors=priors, normals=normals, runs=_held(runs, best, plan), fitted_to="measured",
        tariff=tariff, skipped=tuple(skipped), assumptions=ASSUMPTIONS,
    )  # fmt: skip
    return job, (best, *(one for one in baselines if one is not best))


def _worlds(
    step_s: Array, worlds: tuple[int, int], error: Prior | None
) -> tuple[dict[str, Prior], dict[str, Array]]:
    """Name what the runs leave open of the curve, by the prior or as it is at the present size."""
    off = np.log(step_s / np.median(step_s))
    of_fit = error or _prior_of(off)
    priors, normals = draw_worlds(worlds, [of_fit])
    return priors, normals | ({prior_key(of_fit): off / off.std()} if off.std() > 0 else {})


def _prior_of(off: Array) -> Prior:
    low, high = np.quantile(off, [0.05, 0.95])
    return Prior(
        name="fit", value=1.0, low=float(np.exp(low)), high=float(np.exp(high)), unit="times",
        about="step time to what the curve through the runs says", source="runs left out one at a time",
    )  # fmt: skip


def _planner(
    runs: pl.DataFrame, last: Row, goal: Goal, *, needs_passes: bool
) -> Callable[[int], dict[str, float]]:
    """Say what the job would be at a size: as its largest run, with other replicas."""
    batch, own = last["global_batch"], int(last["n"] or 1)
    watts = (runs["power_w"] / runs["n"]).mean()

    def plan(n: int) -> dict[str, float]:
        told: dict[str, float] = {}
        if batch is not None:
            told["global_batch"] = _whole(batch * n, own, "samples") if goal == "weak" else batch
        if needs_passes:
            told["microbatches"] = _passes(last, n, goal)
        if isinstance(watts, float) and not runs["power_w"].null_count():
            told["power_w"] = watts * n
        return told

    return plan


def _passes(last: Row, n: int, goal: Goal) -> int:
    """Share the microbatches of a step out over other replicas."""
    of_replica, own = int(last["microbatches"] or 1), int(last["n"] or 1)
    return (
        of_replica if goal == "weak" else _whole(of_replica * own, n, "microbatches of a replica")
    )


def _whole(amount: float, parts: int, what: str) -> int:
    if amount % parts or amount < parts:
        raise UsageError(f"{what} would be {amount / parts:g}, which is not whole")
    return int(amount // parts)


def _split(
    sizes: Iterable[int], plan: Callable[[int], Mapping[str, float]]
) -> tuple[list[int], list[Skipped]]:
    found, skipped = [], []
    for n in sorted(set(sizes)):
        try:
            plan(n)
        except UsageError as error:
            skipped.append(Skipped(n, str(error)))
        else:
            found.append(n)
    if not found:
        raise UsageError(
            f"the job can be at none of the sizes ({skipped[0].why}). Give others: --sizes."
        )
    return found, skipped


def _held(
    runs: pl.DataFrame, best: Baseline, plan: Callable[[int], Mapping[str, float]]
) -> tuple[dict[str, float | bool], ...]:
    """Put measured runs beside the curve."""
    rows = []
    for row, step in zip(runs.iter_rows(named=True), best.step_s(runs).tolist(), strict=True):
        try:
            batch = plan(row["n"]).get("global_batch")
        except UsageError:
            batch = -1.0
        rows.append(
            {
                "n": row["n"],
                "step_s": row["step_s"],
                "error_ratio": step / row["step_s"] - 1,
                "on_curve": batch == row["global_batch"],
            }
        )
    return tuple(rows)
