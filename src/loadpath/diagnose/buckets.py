r"""Sizes of gradient buckets: fewer larger messages save latency, more smaller ones begin earlier.

A message of b bytes takes :math:`\alpha + \beta b`. Of m messages in one the others' latencies go,
(m - 1) of them, and it leaves when the last of them would; of k messages for one each carries a
k-th, and leaves when that share of the gradients is ready.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.diagnose.footing import Footing
from loadpath.diagnose.labels import compact, joint_code, place_in_group, sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.message_size import latency_and_rate
from loadpath.diagnose.phases import PHASES, op_phases
from loadpath.diagnose.policy_row import FREE, Row, changed_steps_s, policy_row, unassessed
from loadpath.diagnose.replicas import NO_REPLICAS, across_replicas, find_replicas
from loadpath.replay import op_ready_ns

__all__ = ["merged_ns", "resize_buckets", "split_ns"]

MERGED = (0, 4, 2)
"""How many buckets go in one message; 0 is all of a step."""
SPLIT = (2, 4)
"""How many messages a bucket goes in."""
REDUCTIONS = ("all_reduce", "reduce_scatter")
LEAST_BYTES = 16
"""Reductions of one or two numbers carry no gradients: losses, norms, flags."""
TARGET = "messages of gradients"


class Buckets(NamedTuple):
    """Gradient buckets: reductions between replicas that follow each other in a step.

    Attributes
    ----------
    op : (n,) array of int64
        Members of the reductions.
    series : (n,) array of int32
        Rank, communicator and step of each, numbered.
    place : (n,) array of int64
        Its place in the series.
    ready_ns, work_ns : (n,) arrays of float64
        When it is ready in the replay of the job as recorded, and its transfer.
    """

    op: NDArray[np.int64]
    series: NDArray[np.int32]
    place: NDArray[np.int64]
    ready_ns: FloatArray
    work_ns: FloatArray


def resize_buckets(footing: Footing) -> Row:
    """Replay larger and smaller buckets; the best is given.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.

    Returns
    -------
    dict
        Row ``bucket`` of table `POLICY`.
    """
    found = _gradients(footing)
    if isinstance(found, str):
        return unassessed("bucket", TARGET, found)
    latency = _latency_ns(footing, found)
    if latency is None:
        missing = "reductions of two sizes or more, longer ones slower, to tell latency from rate"
        return unassessed("bucket", TARGET, missing)
    latency = min(latency, float(found.work_ns.min()))
    ways = {
        f"{m or 'all'} consecutive buckets in one message": merged_ns(found, latency, m)
        for m in MERGED
    } | {f"each bucket in {k} messages": split_ns(found, latency, k) for k in SPLIT}
    steps = [_step_s(footing, found, work) for work in ways.values()]
    best = int(np.argmin([step.mean() for step in steps]))
    target = list(ways)[best]
    less = steps[best].mean() < footing.loaded.step_s.mean()
    basis = f"replayed, with {latency / 1e3:.3g} us of latency a message from the job's own sizes"
    return policy_row(
        footing,
        "bucket",
        target if less else f"no other size returns time; next best is {target}",
        steps[best],
        basis=basis,
        cost=FREE,
    )


def _gradients(footing: Footing) -> Buckets | str:
    """Find series of gradient reductions; or say what is missing."""
    job, replicas = footing.job, find_replicas(footing.job)
    if replicas is None:
        return NO_REPLICAS
    met = np.zeros(job.n_op, np.bool_)
    met[job.membership["op"].to_numpy()[across_replicas(job, replicas)]] = True
    reduces = met & job.op["collective"].is_in(REDUCTIONS).to_numpy()
    reduces &= (op_phases(job) != PHASES.index("forward")) & (footing.effects.work_ns > 0)
    size = job.op["bytes"].to_numpy()
    if reduces.any() and (size[reduces] < 0).any():
        return "bytes of the reductions between replicas"
    op = np.flatnonzero(reduces & (size > LEAST_BYTES) & np.isin(job.op["step"], job.graph.step))
    rank, communicator = (job.op[name].to_numpy()[op] for name in ("rank", "communicator"))
    series = compact(joint_code(rank, communicator, footing.peers.step[op]))[1]
    several = np.bincount(series)[series] > 1 if op.size else np.zeros(0, np.bool_)
    if not several.any():
        return "two reductions of gradients or more in a step"
    op, series = op[several], compact(series[several])[1]
    ready = op_ready_ns(job.graph, footing.loaded.timeline, footing.effects.work_ns)[op]
    place = place_in_group(series.astype(np.int64), ready.astype(np.int64))
    return Buckets(op, series, place, ready.astype(np.float64), footing.effects.work_ns[op])


def _step_s(footing: Footing, found: Buckets, work_ns: FloatArray) -> FloatArray:
    """Replay the job with other transfers of its buckets: (n_step,) in s."""
    delta = np.zeros(footing.job.n_op)
    delta[found.op] = work_ns - found.work_ns
    return changed_steps_s(footing, delta, np.zeros(delta.size, np.int64), np.ones((1, 1)))[:, 0]


def _latency_ns(footing: Footing, found: Buckets) -> float | None:
    """Fit latency and rate to the fastest transfer of each size of the same reductions."""
    job = footing.job
    op = job.op.with_columns(work=pl.Series(footing.effects.work_ns))
    mine = op[found.op].select("collective", "communicator").unique()
    least = (
        op.filter((pl.col("bytes") > 0) & (pl.col("work") > 0))
        .join(mine, on=["collective", "communicator"], how="semi")
        .group_by("bytes")
        .agg(pl.col("work").min())
        .sort("bytes")
    )
    size, work = (least[name].to_numpy().astype(np.float64) for name in ("bytes", "work"))
    fitted = latency_and_rate(size, work)
    return fitted[0] if fitted else None


def merged_ns(found: Buckets, latency_ns: float, m: int) -> FloatArray:
    """Send m consecutive buckets when the last of them would go.

    Parameters
    ----------
    found : Buckets
        As recorded.
    latency_ns : float
        What a message costs whatever its size.
    m : int
        Buckets in a message; 0 for all.

    Returns
    -------
    (n,) array of float64
        Transfer of each reduction: of those that go with a later one 0.

    Examples
    --------
    >>> three = Buckets(
    ...     *[np.array(v) for v in ([0, 1, 2], [0] * 3, [0, 1, 2])], *2 * [np.full(3, 9.0)]
    ... )
    >>> merged_ns(three, 4.0, 2).tolist()
    [0.0, 14.0, 9.0]
    """
    most = int(found.place.max()) + 1
    message = compact(found.series.astype(np.int64) * most + found.place // (m or most))[1]
    n = int(message.max()) + 1
    last = np.zeros(n, np.int64)
    np.maximum.at(last, message, found.place)
    whole = sum_by(message, found.work_ns, n) - latency_ns * (np.bincount(message) - 1)
    return np.where(found.place == last[message], whole[message], 0.0)


def split_ns(found: Buckets, latency_ns: float, k: int) -> FloatArray:
    """Send each bucket in k parts, each when its share of the gradients is ready.

    Gradients are taken to become ready evenly since the bucket before; of the first of a series they
    are ready with the last of them. Where the channel was busy nothing could have left earlier.

    Parameters
    ----------
    found : Buckets
        As recorded.
    latency_ns : float
        What a message costs whatever its size.
    k : int
        Messages for each bucket.

    Returns
    -------
    (n,) array of float64
        What is left to transfer once the last part is ready and the channel free.

    Examples
    --------
    A bucket ready at 0, the next at 100; half of that leaves at 50 and is through at 67:

    >>> two = Buckets(
    ...     *[np.array(v) for v in ([0, 1], [0, 0], [0, 1])], np.array([0.0, 100]), np.full(2, 30.0)
    ... )
    >>> split_ns(two, 4.0, 2).tolist()
    [34.0, 17.0]
    """
    part = found.work_ns / k + latency_ns * (k - 1) / k
    n_series = int(found.series.max()) + 1
    before = np.full(n_series, np.nan)
    done = np.full(n_series, -np.inf)
    left = np.empty_like(part)
    for place in range(int(found.place.max()) + 1):
        now = np.flatnonzero(found.place == place)
        series, ready = found.series[now], found.ready_ns[now]
        since = np.where(np.isnan(before[series]), ready, before[series])
        end = done[series]
        free = np.maximum(end, ready)
        for j in range(1, k + 1):
            end = np.maximum(end, since + (ready - since) * j / k) + part[now]
        left[now] = end - free
        before[series], done[series] = ready, end
    return left
