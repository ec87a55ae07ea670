"""The critical path of a step, as bars, and how much of it nothing explains."""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.couple import BETWEEN_CALLS, CoupledJob, CouplingGraph, NodeRole
from loadpath.diagnose import kernels, moment_kernels
from loadpath.diagnose.exposure import computation
from loadpath.diagnose.labels import numbered
from loadpath.diagnose.places import COMPUTE, N_PART, Places, placed_windows
from loadpath.replay import Timeline, critical_path, replay, step_bounds_ns
from loadpath.replay.timeline import kernel_edges
from loadpath.tables.results import PATH
from loadpath.units import NS_PER_S

__all__ = ["MAX_BARS", "Replayed", "path_table", "unexplained_ratio"]

Replayed = tuple[Timeline, ArrayLike]
"""A replay and the work it was made with."""

MAX_BARS = 400
"""Rows of a path; beyond, neighbours are merged."""

FloatArray = NDArray[np.float64]


def path_table(
    job: CoupledJob,
    actual: Replayed,
    without: Replayed | None,
    *,
    ideal_ns: ArrayLike,
    step: int,
) -> pl.DataFrame:
    """List the critical path of a step as bars, as it is and without the cause.

    Parameters
    ----------
    job : CoupledJob
        Job that was replayed.
    actual : (Timeline, (n_op,) array)
        Replay of measured work without lag, and that work in ns.
    without : (Timeline, (n_op,) array), optional
        Replay without the cause; left out where there is none.
    ideal_ns : (n_op,) array
        Work that each op would need, in ns.
    step : int
        Step number.

    Returns
    -------
    polars.DataFrame
        Table `PATH`. No wait lies on a critical path: a communication shows its transfer.
        Neighbours of one rank, lane, kind and name are one bar; of a path longer than `MAX_BARS`
        bars, neighbours on one rank too, under the name of the longest.
    """
    scenarios = [("actual", actual)] + ([("without_cause", without)] if without else [])
    return PATH.build(
        pl.concat(
            _merged(_bars(job, replayed, np.asarray(ideal_ns), step)).select(
                pl.lit(name).alias("scenario"),
                pl.int_range(pl.len(), dtype=pl.Int32).alias("order"),
                *("rank", "lane", "kind", "name", "start_s", "end_s", "excess_s"),
            )
            for name, replayed in scenarios
        )
    )


def unexplained_ratio(
    job: CoupledJob, *, count_hidden: bool = False, at_once: int | None = None
) -> float:
    """Share of the critical path that no recorded op explains, in the replay with measured lag.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    count_hidden : bool
        Whether lag of communication counts while its rank computes. By default it does not: a
        receive that is posted behind a computation is explained by that computation.
    at_once : int, optional
        How many ops to lay out together; as `windows` chooses if left out.

    Returns
    -------
    float
        Lag, recorded boundaries and host time between calls (classes that begin with
        `BETWEEN_CALLS`) on the critical paths of all steps, over their length; 0 without steps.
    """
    total = np.zeros(3, np.int64)
    is_gap, moves = _of_classes(job, BETWEEN_CALLS), np.zeros(job.n_op, np.bool_)
    if not count_hidden:
        moves = (job.op["kind"] == "communicate").to_numpy()
    for _, some, places in placed_windows(job, at_once):
        n_run = some.n_op // max(1, job.n_op)
        marks = (np.tile(is_gap, n_run), np.tile(moves, n_run))
        total += _path_parts_ns(some, places, *marks)
    return float((total[0] + total[1]) / total[2]) if total[2] else 0.0


def _path_parts_ns(
    job: CoupledJob, places: Places, is_gap: NDArray[np.bool_], moves: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Lag and gaps on the critical paths of all steps, and their length; `moves` may hide lag."""
    graph = job.graph
    timeline = replay(graph, job.work_ns, lag_ns=job.lag_ns)
    walk = (
        *kernel_edges(graph),
        timeline.time_ns,
        _end_nodes(graph, timeline),
        step_bounds_ns(graph, timeline)[0],
    )
    on_path = np.zeros(graph.n_node, np.bool_)
    kernels.mark_path(*walk, on_path)
    late = np.flatnonzero(moves & (job.lag_ns > 0) & on_path[graph.start_node])
    out = np.zeros((graph.step.size, 3), np.int64)
    kernels.path_parts(
        *walk,
        *(graph.op, graph.role, graph.fixed_ns, graph.start_node, graph.end_node),
        *(job.work_ns, job.lag_ns, _hidden_lag_ns(job, timeline, places, late), is_gap, out),
    )
    total: NDArray[np.int64] = out.sum(axis=0)
    return total


def _of_classes(job: CoupledJob, beginning: str) -> NDArray[np.bool_]:
    """Say which ops are of a class whose name begins so."""
    number, names = numbered(job.op["op_class"])
    return np.array([name.startswith(beginning) for name in names], np.bool_)[number]


def _hidden_lag_ns(
    job: CoupledJob, timeline: Timeline, places: Places, late: NDArray[np.intp]
) -> NDArray[np.int64]:
    """Lag of each of the ops `late` during which its rank computes."""
    hidden = np.zeros(job.n_op, np.int64)
    if not late.size:
        return hidden
    concerned = np.zeros(int(places.group.max()) + 1, np.bool_)
    concerned[places.group[late]] = True
    among = concerned[places.group]
    occupancy = computation(job, timeline, job.work_ns, places=places, among=among)
    start = job.graph.start_node[late] + 1
    inside = np.zeros((late.size, N_PART), np.int64)
    moment_kernels.sum_windows(
        occupancy.group_segment,
        occupancy.start_ns,
        occupancy.end_ns,
        occupancy.part,
        occupancy.places.group[late].astype(np.int64),
        timeline.time_ns[start] - job.lag_ns[late],
        timeline.time_ns[start],
        inside,
    )
    hidden[late] = inside[:, COMPUTE]
    return hidden


def _end_nodes(graph: CouplingGraph, timeline: Timeline) -> NDArray[np.int32]:
    """Node at which each step ends: the latest, of equals the lowest."""
    node = np.full(graph.step.size, -1, np.int32)
    kernels.last_ends(graph.end_step_node, graph.end_step, timeline.time_ns, node)
    return node


def _bars(job: CoupledJob, replayed: Replayed, ideal_ns: FloatArray, step: int) -> pl.DataFrame:
    """One bar per node of the path that takes time, in order."""
    graph = job.graph
    timeline, work = replayed
    index = int(np.searchsorted(graph.step, step))
    path = critical_path(graph, timeline, index)
    time = timeline.time_ns
    begin = float(step_bounds_ns(graph, timeline)[0][index])
    end_s = (time[path + 1] - begin) / NS_PER_S
    start_s = np.concatenate([[0.0], end_s[:-1]])
    works = np.isin(graph.role[path], (NodeRole.WORK, NodeRole.COMPLETE))
    op = np.where(graph.role[path] == NodeRole.SYNC, 0, graph.op[path])
    excess = np.where(works, np.maximum(np.asarray(work)[op] - ideal_ns[op], 0), 0) / NS_PER_S
    text = pl.String
    named = job.op[op].select("rank", "lane", pl.col("kind").cast(text), pl.col("name").cast(text))
    lanes = job.lane.select("rank", "lane", pl.col("name").alias("lane_name"))
    return (
        named.with_columns(
            pl.Series("start_s", start_s),
            pl.Series("end_s", end_s),
            pl.Series("excess_s", np.minimum(excess, end_s - start_s)),
            pl.Series("works", works),
        )
        .join(lanes, on=["rank", "lane"], how="left", maintain_order="left")
        .filter(pl.col("end_s") > pl.col("start_s"))
        .select(
            "rank",
            pl.col("lane_name").fill_null("").alias("lane"),
            pl.when("works").then("kind").otherwise(pl.lit("lag")).alias("kind"),
            pl.when("works")
            .then("name")
            .otherwise(pl.lit("before ") + pl.col("name"))
            .alias("name"),
            *("start_s", "end_s", "excess_s"),
        )
    )


def _merged(bars: pl.DataFrame) -> pl.DataFrame:
    """Merge neighbours, more and more of them until the path is short enough."""
    bars = _join(bars, pl.struct("rank", "lane", "kind", "name").rle_id())
    if bars.height > MAX_BARS:
        bars = _join(bars, pl.struct("rank", "lane", "kind").rle_id())
    if bars.height > MAX_BARS:
        bars = _join(bars, pl.col("rank").rle_id())
    if bars.height > MAX_BARS:
        middle = (pl.col("start_s") + pl.col("end_s")) / 2
        bars = _join(bars, (middle / bars["end_s"][-1] * MAX_BARS).floor().rle_id())
    return bars


def _join(bars: pl.DataFrame, run: pl.Expr) -> pl.DataFrame:
    """One bar per run, called after its longest."""
    longest = (pl.col("end_s") - pl.col("start_s")).arg_max()
    return (
        bars.group_by(run.alias("run"), maintain_order=True)
        .agg(
            pl.col("rank", "lane", "kind", "name").get(longest),
            pl.col("start_s").first(),
            pl.col("end_s").last(),
            pl.col("excess_s").sum(),
        )
        .drop("run")
    )
