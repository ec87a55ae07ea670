"""Search among layouts and sizes of a design: what each would cost, and which of them are worth a look."""

from collections import Counter
from typing import Literal

import numpy as np
import polars as pl
from msgspec import Struct

from loadpath.errors import UsageError
from loadpath.forecast.conditions import failures_of
from loadpath.forecast.convergence import converging, steps_of
from loadpath.forecast.design import Batch, Design
from loadpath.forecast.design_checks import check_design
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.durations import replayed_s
from loadpath.forecast.layout import lay_out
from loadpath.forecast.memory import memory_of
from loadpath.forecast.priors import assume
from loadpath.forecast.reliability import Failures, ettr_ratio
from loadpath.forecast.search_space import AXES, Space, variants
from loadpath.forecast.step import step_durations
from loadpath.forecast.step_point import design_priors
from loadpath.forecast.transformer import flop_per_token, model_of
from loadpath.tables.schema import Column, TableSchema

__all__ = ["LAYOUT", "REFUSED", "Budget", "Found", "Objective", "search"]

Objective = Literal["cost_per_unit", "job_s", "units_per_s"]
"""What is sought: least money (without prices accelerator time) per unit, soonest end, most per second."""

S_PER_HOUR = 3600.0

LAYOUT = TableSchema(
    "layout",
    "one design of a search that is sound and fits into memory",
    (
        Column("accelerators", pl.Int64, "how many"),
        *(Column(name, pl.Int64, "degree of parallelism, or chunks of a stage") for name in AXES[:5]),
        Column("sharding", pl.String, "what replicas share out"),
        Column("recompute", pl.String, "what the backward pass computes again"),
        Column("microbatch", pl.Int64, "sequences of a forward pass"),
        Column("step_s", pl.Float64, "replayed time of a step"),
        Column("mfu_ratio", pl.Float64, "useful operations over those of the peak"),
        Column("memory_ratio", pl.Float64, "what the fullest accelerator holds over what it has"),
        Column("ettr_ratio", pl.Float64, "productive time over all time, with failures"),
        Column("units_per_s", pl.Float64, "tokens in a second of all time"),
        Column("accelerator_s_per_unit", pl.Float64, "accelerator-seconds paid for a token"),
        Column("cost_per_unit", pl.Float64, "money for a token; null without prices", nullable=True),
        Column("cost_per_h", pl.Float64, "money for an hour of all; null without prices", nullable=True),
        Column("job_s", pl.Float64, "whole job; null where its steps are unknown", nullable=True),
        Column("job_cost", pl.Float64, "money for it; null where unknown", nullable=True),
        Column("within_budget", pl.Boolean, "whether no bound of the budget is passed"),
        Column("on_front", pl.Boolean, "whether none within the budget is cheaper and faster"),
    ),
)  # fmt: skip

REFUSED = TableSchema(
    "refused",
    "why designs of a search were not timed",
    (
        Column("place", pl.String, "key of the design that is at fault first"),
        Column("count", pl.Int64, "designs refused for it"),
        Column("example", pl.String, "what was wrong with the first of them"),
    ),
)


class Budget(Struct, frozen=True, kw_only=True):
    """Bounds that a design must keep; None bounds nothing.

    Attributes
    ----------
    accelerators : int or None
        How many there may be.
    cost_per_h, job_cost : float or None
        Money for an hour, and for the whole job, in the currency of the design's prices.
    job_s : float or None
        When the whole job must have ended.
    memory_ratio : float
        Share of the memory that weights, optimiser and activations may take.
    """

    accelerators: int | None = None
    cost_per_h: float | None = None
    job_cost: float | None = None
    job_s: float | None = None
    memory_ratio: float = 1.0


class Found(Struct, frozen=True, kw_only=True):
    """What a search found.

    Attributes
    ----------
    layouts : polars.DataFrame
        Table `LAYOUT`, those within the budget first, the best of them on top.
    refused : polars.DataFrame
        Table `REFUSED`: what was not timed, so that nothing is lost silently.
    objective : str
        What the layouts are sorted by.
    currency : str or None
        Of all money; None without prices.
    """

    layouts: pl.DataFrame
    refused: pl.DataFrame
    objective: Objective
    currency: str | None


def search(
    design: Design,
    space: Space,
    *,
    objective: Objective = "cost_per_unit",
    budget: Budget | None = None,
) -> Found:
    """Time every sound design of a space and sort them.

    The batch stays that of the design, so that all of them do the same work in a step. Pipelines are
    replayed condensed (within 0.1 %). Failures count as in a forecast, without spares; power that is
    billed apart is what the design says an accelerator draws, else its rating.

    Parameters
    ----------
    design : Design
        A training design; what the space does not vary is taken from it.
    space : Space
        Values to try; all combinations are.
    objective : {"cost_per_unit", "job_s", "units_per_s"}
        What to sort by; ``job_s`` needs the steps of the job.
    budget : Budget, optional
        Bounds; none by default.

    Returns
    -------
    Found
        All timed designs, and why others were not timed.

    Raises
    ------
    UsageError
        If the design trains no transformer, or the objective or a bound needs prices or steps that
        it does not have.

    Examples
    --------
    >>> from loadpath.forecast.design import Batch, Cluster, Transformer
    >>> from loadpath.forecast.search_space import Space
    >>> design = Design(
    ...     name="small",
    ...     model=Transformer(layers=4, hidden=1024, heads=16, sequence=1024, vocabulary=50304),
    ...     cluster=Cluster(device="A100-SXM4-80GB", accelerators=8),
    ...     batch=Batch(sequences=64),
    ... )
    >>> found = search(design, Space(accelerators=(8, 16), tensor=(1, 8, 3)))
    >>> found.layouts.select("accelerators", "tensor").rows()
    [(8, 1), (16, 1), (8, 8), (16, 8)]
    >>> found.refused.rows()[0][:2]
    ('model.heads', 2)
    """
    bounds = budget or Budget()
    _refuse_unanswerable(design, objective, bounds)
    priors = design_priors(design)
    failures = failures_of(design, {name: prior.value for name, prior in priors.items()})
    refused: Counter[str] = Counter()
    example: dict[str, str] = {}
    rows = []
    for variant in variants(design, space):
        told = _fault(variant, bounds)
        if told is None:
            rows.append(_row(variant, failures, priors["startup"].value))
            continue
        place, what = told
        refused[place] += 1
        example.setdefault(place, f"{place} {what}")
    table = pl.DataFrame(rows, schema=dict(list(LAYOUT.schema.items())[:-2]), orient="row")
    return Found(
        layouts=LAYOUT.validate(_sorted(table, objective, bounds)),
        refused=REFUSED.validate(
            pl.DataFrame(
                [(place, n, example[place]) for place, n in refused.most_common()],
                schema=REFUSED.schema,
                orient="row",
            )
        ),
        objective=objective,
        currency=None if design.prices is None else design.prices.currency,
    )


def _refuse_unanswerable(design: Design, objective: Objective, bounds: Budget) -> None:
    problems = []
    if design.model is None or design.batch is None or design.serving is not None:
        problems.append("it trains no transformer, and only such layouts are searched")
    if converging(design) is None and (
        objective == "job_s" or bounds.job_s is not None or bounds.job_cost is not None
    ):
        problems.append(
            "startup.steps is missing (or convergence), without which the job has no end"
        )
    if design.prices is None and (bounds.cost_per_h is not None or bounds.job_cost is not None):
        problems.append("prices are missing, without which no money can be bounded")
    if problems:
        raise UsageError(f"Design {design.name!r} cannot be searched: {'; '.join(problems)}.")


def _fault(design: Design, bounds: Budget) -> tuple[str, str] | None:
    """Say what keeps a design from being timed, if anything does."""
    if bounds.accelerators is not None and design.cluster.accelerators > bounds.accelerators:
        return "budget.accelerators", f"is {bounds.accelerators}, fewer than the design needs"
    problems = check_design(design)
    if problems:
        return ".".join(map(str, problems[0].path)), problems[0].what
    ratio = _memory_ratio(design)
    if ratio > bounds.memory_ratio:
        return "memory", f"would hold {ratio:.2f} of what an accelerator has, activations included"
    return None


def _memory_ratio(design: Design) -> float:
    room = design.cluster.memory or shipped_devices()[design.cluster.device].memory_gb * 1e9
    return memory_of(design, lay_out(design)).total / room


def _row(design: Design, failures: Failures, startup_s: float) -> tuple[object, ...]:
    """Time one design, and work out what it costs."""
    device = shipped_devices()[design.cluster.device]
    priors = assume(design.priors, measured_priors(device))
    step = replayed_s(step_durations(design, device, priors, condensed=True))
    p, n, model = design.parallelism, design.cluster.accelerators, model_of(design)
    batch = design.batch or Batch(sequences=1)
    units = float(batch.sequences * model.sequence)
    flop = units * flop_per_token(model)
    peak = 1e12 * device.tflops[design.software.precision] * n
    ettr = float(ettr_ratio(n, failures))
    rate = units * ettr / step
    per_s = _money_per_s(design)
    job = None
    needed = steps_of(design)
    if needed is not None:
        job = needed * step / ettr + startup_s
    return (
        n, *(getattr(p, name) for name in AXES), batch.microbatch, step, flop / step / peak,
        _memory_ratio(design), ettr, rate, n / rate,
        None if per_s is None else per_s / rate,
        None if per_s is None else per_s * S_PER_HOUR,
        job, None if job is None or per_s is None else job * per_s,
    )  # fmt: skip


def _money_per_s(design: Design) -> float | None:
    """Give what all accelerators cost in a second, power included where it is billed apart."""
    if design.prices is None:
        return None
    n, prices = design.cluster.accelerators, design.prices
    device = shipped_devices()[design.cluster.device]
    watts = design.power.busy if design.power.busy is not None else device.tdp_w
    energy = prices.energy_kwh * watts * (design.power.pue or 1.0) / 3.6e6
    return n * (prices.accelerator_hour / S_PER_HOUR + energy)


def _sorted(table: pl.DataFrame, objective: Objective, bounds: Budget) -> pl.DataFrame:
    """Mark what is within the budget and what is on the front, and put the best first."""
    within = pl.lit(value=True)
    for name in ("cost_per_h", "job_cost", "job_s"):
        most = getattr(bounds, name)
        if most is not None:
            within &= pl.col(name) <= most
    table = table.with_columns(within_budget=within)
    table = table.with_columns(on_front=pl.Series(_front(table), dtype=pl.Boolean))
    unpriced = objective == "cost_per_unit" and table["cost_per_unit"].null_count() > 0
    key = "accelerator_s_per_unit" if unpriced else objective
    names = ("within_budget", key, "accelerators", *AXES, "microbatch")
    down = [True, objective == "units_per_s", *(False for _ in names[2:])]
    return table.sort(names, descending=down)


def _front(table: pl.DataFrame) -> np.ndarray:
    """Find designs within the budget beside which none is both as cheap and faster, or cheaper."""
    spent = table["cost_per_unit"].fill_null(table["accelerator_s_per_unit"]).to_numpy()
    rate, within = table["units_per_s"].to_numpy(), table["within_budget"].to_numpy()
    front = np.zeros(table.height, np.bool_)
    best = -np.inf
    for place in np.lexsort((-rate, spent)):
        if within[place] and rate[place] > best:
            front[place], best = True, rate[place]
    return front
