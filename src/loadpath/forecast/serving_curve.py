"""Tails, goodput and cost of a served model against its tensor-parallel width and its load."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl
from msgspec.structs import replace

from loadpath.errors import UsageError
from loadpath.forecast.design import Design
from loadpath.forecast.iteration import IterationTimes, iteration_times
from loadpath.forecast.measured_iterations import TimedWidth
from loadpath.forecast.request_queue import Service, replay_requests
from loadpath.tables.schema import Column, TableSchema
from loadpath.units import NS_PER_S

__all__ = [
    "SERVING_CAPACITY",
    "SERVING_POINT",
    "ServingCurve",
    "serving_capacity",
    "serving_curve",
]

SERVING_POINT = TableSchema(
    "serving_point",
    "a served model at one tensor width and one load",
    (
        Column("tensor", pl.Int64, "tensor-parallel width"),
        Column("replicas", pl.Int64, "copies of the model that share the requests"),
        Column("load_ratio", pl.Float64, "requests per second over those recorded"),
        Column("requests_per_s", pl.Float64, "mean over the trace"),
        Column("busy_ratio", pl.Float64, "share of the time in which the busiest replica worked"),
        Column("backlog_s", pl.Float64, "from the last arrival to the last token"),
        Column("ttft_p50_s", pl.Float64, "time to the first token, half of the requests"),
        Column("ttft_p99_s", pl.Float64, "of 99 in 100"),
        Column("ttft_p99_low_s", pl.Float64, "the same were iterations faster by the band"),
        Column("ttft_p99_high_s", pl.Float64, "were they slower by it"),
        Column("tpot_p50_s", pl.Float64, "time between tokens, half of the requests"),
        Column("tpot_p99_s", pl.Float64, "of 99 in 100"),
        Column("tpot_p99_low_s", pl.Float64, "the same were iterations faster by the band"),
        Column("tpot_p99_high_s", pl.Float64, "were they slower by it"),
        Column("good_ratio", pl.Float64, "share of the requests that keep both promises"),
        Column("good_low_ratio", pl.Float64, "the same were iterations slower by the band"),
        Column("good_high_ratio", pl.Float64, "were they faster by it"),
        Column("goodput_per_s", pl.Float64, "requests that keep both promises, in a second"),
        Column("accelerator_s_per_million", pl.Float64, "accelerator-seconds for a million answered tokens"),
        Column("cost_per_million", pl.Float64, "money for them; null without prices", nullable=True),
        Column(
            "cost_per_good_million", pl.Float64,
            "money for a million tokens of requests that keep both promises; null where none does",
            nullable=True,
        ),
    ),
)  # fmt: skip

SERVING_CAPACITY = TableSchema(
    "serving_capacity",
    "what a served model keeps up with at one tensor width",
    (
        Column("tensor", pl.Int64, "tensor-parallel width"),
        Column("replicas", pl.Int64, "copies of the model that share the requests"),
        Column("requests_per_s", pl.Float64, "most at which the promises are kept; 0 for never"),
        Column("requests_low_per_s", pl.Float64, "the same were iterations slower by the band"),
        Column("requests_high_per_s", pl.Float64, "were they faster by it"),
        Column("accelerator_s_per_million", pl.Float64, "for a million answered tokens, at that load", nullable=True),
        Column("cost_per_million", pl.Float64, "money for them; null without prices", nullable=True),
    ),
)  # fmt: skip

WIDEST = (-8.0, 12.0)
"""Powers of two of the recorded load between which the largest one is sought."""
FINEST = 0.0144
"""Difference of powers at which the search ends: 1 % of the load."""


class ServingCurve(NamedTuple):
    """Figures by width, and the widths without any.

    Attributes
    ----------
    points : polars.DataFrame
        One row for each width (and load).
    refused : tuple of str
        Which widths were left out, and why.
    """

    points: pl.DataFrame
    refused: tuple[str, ...]


def serving_curve(
    design: Design,
    requests: pl.DataFrame,
    widths: tuple[int, ...],
    *,
    loads: tuple[float, ...] = (1.0,),
    service: Service | None = None,
    measured: Mapping[int, TimedWidth] | None = None,
) -> ServingCurve:
    """Replay a request trace at tensor widths and loads: tails, goodput, cost of a good answer.

    All accelerators of the design are used at each width, by as many replicas as they hold. Every figure
    is modelled.

    Parameters
    ----------
    design : Design
        A served transformer; its prices make costs.
    requests : polars.DataFrame
        Table `REQUEST`.
    widths : tuple of int
        Tensor-parallel widths.
    loads : tuple of float
        Factors on the rate of arrival: their order and sizes stay.
    service : Service, optional
        How replicas compose iterations, and what makes an answer good.
    measured : mapping of int to TimedWidth, optional
        Times by width, in place of those of the design.

    Returns
    -------
    ServingCurve
        With a table `SERVING_POINT`, by width and load.

    Raises
    ------
    UsageError
        If the weights fit at no width, or a design cannot be laid out so.
    """
    how = service or Service()
    found, refused = _replicas(design, widths, how, measured or {})
    rows = []
    for one in found:
        for load in loads:
            asked = _hurried(requests, load)
            runs = [_run(one, asked, how, factor) for factor in one.edges]
            figures = _figures(asked, runs, how, _cost(design))
            rows.append((one.tensor, one.replicas, load, *figures))
    points = pl.DataFrame(rows, schema=SERVING_POINT.schema, orient="row")
    return ServingCurve(SERVING_POINT.validate(points), refused)


def serving_capacity(
    design: Design,
    requests: pl.DataFrame,
    widths: tuple[int, ...],
    *,
    service: Service | None = None,
    measured: Mapping[int, TimedWidth] | None = None,
) -> ServingCurve:
    """Find the load up to which a width keeps its promises, and what an answered token then costs.

    The trace comes faster and faster until fewer than ``service.good_ratio`` of its requests are good;
    the load is found to 1 %.

    Parameters
    ----------
    design : Design
        As of `serving_curve`.
    requests : polars.DataFrame
        Table `REQUEST`.
    widths : tuple of int
        Tensor-parallel widths.
    service : Service, optional
        How replicas compose iterations, and what makes an answer good.
    measured : mapping of int to TimedWidth, optional
        As of `serving_curve`.

    Returns
    -------
    ServingCurve
        With a table `SERVING_CAPACITY`, by width; 0 requests where no load keeps the promises.
    """
    how = service or Service()
    found, refused = _replicas(design, widths, how, measured or {})
    per_s = requests.height / max(_last_s(requests), 1e-9)
    n, money = _cost(design)
    rows = []
    for one in found:
        loads = [_largest_load(one, requests, how, factor) for factor in one.edges]
        spent = None
        if loads[0] > 0:
            run = _run(one, _hurried(requests, loads[0]), how, 1.0)
            spent = 1e6 * run.end_s / int(run.served["output_tokens"].sum())
        rows.append(
            (one.tensor, one.replicas, *(load * per_s for load in (loads[0], loads[2], loads[1])),
             None if spent is None else n * spent,
             None if spent is None or money is None else money * spent)
        )  # fmt: skip
    points = pl.DataFrame(rows, schema=SERVING_CAPACITY.schema, orient="row")
    return ServingCurve(SERVING_CAPACITY.validate(points), refused)


class _Replica(NamedTuple):
    """One width: how many replicas there are, how long their iterations take, and how sure that is."""

    tensor: int
    replicas: int
    times: IterationTimes
    band_factor: float

    @property
    def edges(self) -> tuple[float, float, float]:
        """Factors on the times: as they are, faster, slower by the band."""
        return 1.0, 1 / self.band_factor, self.band_factor


def _replicas(
    design: Design,
    widths: tuple[int, ...],
    how: Service,
    measured: Mapping[int, TimedWidth],
) -> tuple[list[_Replica], tuple[str, ...]]:
    """Time the widths that fit, and say why others do not."""
    found, refused = [], []
    for width in widths:
        of = replace(design, parallelism=replace(design.parallelism, tensor=width))
        replicas = design.cluster.accelerators // (width * design.parallelism.pipeline)
        try:
            timed = measured.get(width) or TimedWidth(
                iteration_times(of, how.memory_ratio), how.band_factor
            )
        except UsageError as error:
            refused.append(f"width {width}: {error}")
            continue
        found.append(_Replica(width, replicas, *timed))
    if not found:
        raise UsageError(f"No width serves design {design.name!r}. {' '.join(refused)}")
    return found, tuple(refused)


def _run(one: _Replica, asked: pl.DataFrame, how: Service, factor: float) -> "_Run":
    times = _slower(one.times, factor)
    return _Run(*replay_requests(asked, times, service=how, replicas=one.replicas))


def _hurried(requests: pl.DataFrame, load: float) -> pl.DataFrame:
    return requests.with_columns((pl.col("arrival_ns") / load).round().cast(pl.Int64))


def _last_s(requests: pl.DataFrame) -> float:
    return int(requests.select(pl.col("arrival_ns").max()).item()) / NS_PER_S


def _largest_load(one: _Replica, requests: pl.DataFrame, how: Service, factor: float) -> float:
    """Halve the interval in which the promises begin to be broken, in powers of the load."""

    def kept(power: float) -> bool:
        asked = _hurried(requests, 2.0**power)
        return _run(one, asked, how, factor).good(how).height >= how.good_ratio * asked.height

    low, high = WIDEST
    if not kept(low):
        return 0.0
    while high - low > FINEST:
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) else (low, middle)
    return float(2.0**low)


class _Run(NamedTuple):
    """One replay: its table `SERVED`, and how long the busiest replica worked."""

    served: pl.DataFrame
    busy_s: float

    @property
    def end_s(self) -> float:
        """From the first arrival to the last token."""
        ends = pl.col("arrival_ns") + pl.col("latency_ns")
        return int(self.served.select(ends.max()).item()) / NS_PER_S

    def quantile_s(self, name: str, share: float) -> float:
        """Give a quantile of a column in s; 0 where it is empty."""
        value = self.served[name].quantile(share, "nearest")
        return 0.0 if value is None else float(value) / NS_PER_S

    def good(self, promise: Service) -> pl.DataFrame:
        """Give the requests that keep both promises."""
        slow = pl.col("tpot_ns").fill_null(0) > promise.tpot_s * NS_PER_S
        return self.served.filter((pl.col("ttft_ns") <= promise.ttft_s * NS_PER_S) & ~slow)


def _slower(times: IterationTimes, factor: float) -> IterationTimes:
    return IterationTimes(
        times.tokens,
        times.body_s * factor,
        times.head_s * factor,
        times.cached_token_s * factor,
        times.pair_s * factor,
        times.cache_tokens,
    )


def _cost(design: Design) -> tuple[int, float | None]:
    """Give the accelerators, and what all of them cost in a second."""
    n, prices = design.cluster.accelerators, design.prices
    return n, None if prices is None else n * prices.accelerator_hour / 3600.0


def _figures(
    asked: pl.DataFrame, runs: list[_Run], promise: Service, cost: tuple[int, float | None]
) -> tuple[float | None, ...]:
    """Summarise a replay, and those with faster and slower iterations, as the columns after the load."""
    run, fast, slow = runs
    last, span = _last_s(asked), run.end_s
    tokens, good = int(run.served["output_tokens"].sum()), run.good(promise)
    n, per_s = cost
    good_tokens = int(good["output_tokens"].sum())
    n_good = [len(r.good(promise)) / asked.height for r in (run, slow, fast)]
    tails = [
        (run.quantile_s(name, 0.5), *(r.quantile_s(name, 0.99) for r in (run, fast, slow)))
        for name in ("ttft_ns", "tpot_ns")
    ]
    return (
        asked.height / max(last, 1e-9),
        run.busy_s / span, span - last,
        *tails[0], *tails[1], *n_good, good.height / span,
        1e6 * n * span / tokens,
        None if per_s is None else 1e6 * per_s * span / tokens,
        None if per_s is None or not good_tokens else 1e6 * per_s * span / good_tokens,
    )  # fmt: skip
