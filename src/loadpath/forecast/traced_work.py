"""What the work of each op of a traced job follows: its batch, its tensor width, the members of its group."""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.resources import MATRIX
from loadpath.errors import UsageError
from loadpath.units import NS_PER_S

__all__ = [
    "OPTIMISER",
    "Resized",
    "TracedWork",
    "check_widths",
    "parts_of_instances",
    "resized_work_ns",
    "traced_work",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

OPTIMISER = re.compile(
    r"multi_tensor|_foreach_|(?<![a-z])(fused_?)?(adamw?|sgd|lamb|lion|adagrad|rmsprop)|optimizer",
    re.IGNORECASE,
)
"""Names of kernels and calls that work on weights, whatever the batch."""
NORM = re.compile(r"layer_?norm|rms_?norm|group_?norm|embedding", re.IGNORECASE)
"""Names of kernels that all ranks of a tensor run alike, unless its sequence is split as well."""
SEQUENCES = ("all_gather", "reduce_scatter")
"""What ranks of a tensor exchange where they split the sequence too; else they all-reduce."""
TREES = ("all_reduce",)
SPREADS = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "barrier")
"""Collectives whose time at another size follows from theirs: each member moves its share of one whole."""


@dataclass(frozen=True, slots=True)
class TracedWork:
    """What the work of each op follows.

    Attributes
    ----------
    members : (n_op,) array of int64
        Ranks of the group that an op communicates with where it spans replicas; 0 for all other ops.
    peers : (n_op,) array of int64
        The same of groups that span the ranks of one tensor alone.
    trees : (n_op,) array of bool
        Whether either takes hops of a ring or of a tree, whichever are fewer; else those of a ring.
    sheds : (n_op,) array of bool
        Whether it carries weights that a wider tensor shares out: between replicas, or of the optimiser.
    batch : (n_op,) array of bool
        Whether it follows the samples of a replica: computation but that of the optimiser, what fetches
        them, and what ranks of a tensor and stages send each other.
    split_ratio : (n_op,) array
        Share of a computation that a wider tensor shares out; not a number where no rule tells.
    tensor : int
        Recorded width; 0 where no groups of it are named.
    """

    members: IntArray
    peers: IntArray
    trees: BoolArray
    sheds: BoolArray
    batch: BoolArray
    split_ratio: FloatArray
    tensor: int


class Resized(NamedTuple):
    """A traced job at another size, in one world.

    Attributes
    ----------
    replicas_ratio, tensor_ratio, batch_ratio : float
        Replicas, tensor width and samples of a replica, to the recorded ones.
    hop_s, link_s : float
        One hop between replicas, and between ranks of a tensor.
    slower, tensor_slower : float
        By how much bytes take longer than they took between the recorded replicas, and ranks of a tensor.
    ramp_s, serial_ratio : float
        Time, and share, of a kernel that less work in it does not shorten.
    alike_ratio : float
        Share of the kernels of no known kind that all ranks of a tensor run alike.
    """

    replicas_ratio: float = 1.0
    tensor_ratio: float = 1.0
    batch_ratio: float = 1.0
    hop_s: float = 0.0
    link_s: float = 0.0
    slower: float = 1.0
    tensor_slower: float = 1.0
    ramp_s: float = 0.0
    serial_ratio: float = 0.0
    alike_ratio: float = 0.0


def parts_of_instances(job: CoupledJob, replica: dict[int, int]) -> pl.DataFrame:
    """Give the op of each member of a communication what its group spans.

    Parameters
    ----------
    job : CoupledJob
        Of traces, in one graph.
    replica : dict of int to int
        Replica of each rank.

    Returns
    -------
    polars.DataFrame
        Columns of `MEMBERSHIP` and `INSTANCE`, ``step``, ``replica``, and ``n_replica``, ``n_tensor``,
        ``n_stage``: how many of each the communication joins.
    """
    where = job.rank.select(
        "rank", "tp", "pp", pl.col("rank").replace_strict(replica).alias("replica")
    )
    placed = job.op.select("rank", "step").join(where, on="rank", how="left", maintain_order="left")
    columns = ("instance", "collective", "communicator", "sequence", "n_members", "matched")
    return (
        job.membership.join(job.instance.select(columns), on="instance", maintain_order="left")
        .with_columns(placed[job.membership["op"].to_numpy()])
        .with_columns(
            pl.col(name).n_unique().over("instance").alias(f"n_{said}")
            for name, said in (("replica", "replica"), ("tp", "tensor"), ("pp", "stage"))
        )
    )


def traced_work(job: CoupledJob, parts: pl.DataFrame) -> TracedWork:
    """Say of each op of a traced job what its work follows.

    Parameters
    ----------
    job : CoupledJob
        Of traces, in one graph.
    parts : polars.DataFrame
        Result of `parts_of_instances`.

    Returns
    -------
    TracedWork
        By name and kind of the op, and by what its group spans.
    """
    meets, narrow = pl.col("n_replica") > 1, pl.col("n_tensor") > 1
    within = ~meets & narrow & (pl.col("n_stage") == 1)
    members, peers = _sizes(job, parts.filter(meets)), _sizes(job, parts.filter(within))
    trees = np.zeros(job.n_op, np.bool_)
    trees[parts.filter(pl.col("collective").cast(pl.String).is_in(TREES))["op"].to_numpy()] = True
    sheds = _marked(job, parts.filter(meets & ~narrow))
    kinds = parts.filter(within)["collective"].cast(pl.String)
    optimises = _named(job, OPTIMISER) | (job.op["kind"] == "optimise").to_numpy()
    computes = job.op["mechanism"].cast(pl.String).is_in(["device", "input"]).to_numpy()
    travels = (job.op["mechanism"] == "communication").to_numpy() & (members == 0)
    stages = _marked(job, parts.filter(~meets & (pl.col("n_stage") > 1)))
    follows = (computes & ~optimises) | (travels & ((peers > 0) | stages))
    split = np.full(job.n_op, np.nan)
    split[_named(job, MATRIX) | optimises] = 1.0
    split[_named(job, NORM)] = 1.0 if kinds.is_in(SEQUENCES).any() else 0.0
    split[~computes | (job.op["mechanism"] == "input").to_numpy()] = 0.0
    known = (job.rank["tp"] >= 0).all() and bool((peers > 0).any())
    return TracedWork(
        members, peers, trees, sheds, follows, split, job.rank["tp"].n_unique() if known else 0
    )


def _sizes(job: CoupledJob, parts: pl.DataFrame) -> IntArray:
    found = np.zeros(job.n_op, np.int64)
    found[parts["op"].to_numpy()] = parts["n_members"].to_numpy()
    return found


def _marked(job: CoupledJob, parts: pl.DataFrame) -> BoolArray:
    found = np.zeros(job.n_op, np.bool_)
    found[parts["op"].to_numpy()] = True
    return found


def _named(job: CoupledJob, pattern: re.Pattern[str]) -> BoolArray:
    names = job.op["name"].cast(pl.String).unique().to_list()
    found = [name for name in names if pattern.search(name)]
    return job.op["name"].cast(pl.String).is_in(found).to_numpy()


def check_widths(parts: pl.DataFrame, work: TracedWork) -> None:
    """Refuse another tensor width where the record does not tell what it would exchange.

    Parameters
    ----------
    parts : polars.DataFrame
        Result of `parts_of_instances`.
    work : TracedWork
        Result of `traced_work`.

    Raises
    ------
    UsageError
        If no groups of a tensor are named, or they exchange what a width would change in unknown ways.
    """
    if not work.tensor:
        raise UsageError(
            "The traces name no groups that share a tensor out (mesh_tp, TENSOR_MODEL_PARALLEL_GROUP), so that "
            "what another width exchanges is not told. Leave --tensor out, or give a design."
        )
    within = parts.filter(pl.lit(work.peers[parts["op"].to_numpy()] > 0))
    other = set(within["collective"].cast(pl.String).unique()) - set(SPREADS)
    if other:
        raise UsageError(
            f"Ranks of a tensor exchange {', '.join(sorted(other))}: what that moves at another width the "
            "record does not tell. Leave --tensor out, or give a design."
        )


def resized_work_ns(work_ns: IntArray, work: TracedWork, to: Resized) -> IntArray:
    r"""Give the work of the recorded ops at another size.

    Members of a group grow from :math:`k` to :math:`k'`; what each moves from :math:`(k - 1) / k` to
    :math:`(k' - 1) / k'` of the whole, and its hops as those of a ring, of a tree where these are fewer.
    A kernel of which the share :math:`x` is left takes :math:`r + (t - r)(s + (1 - s) x)`, `r` the ramp
    (never more than it took) and `s` the serial share.

    Parameters
    ----------
    work_ns : (n_op,) array of int64
        As recorded.
    work : TracedWork
        What it follows.
    to : Resized
        The size, in one world.

    Returns
    -------
    (n_op,) array of int64
        Never below 0.

    Examples
    --------
    A kernel of 100 us, of which 5 us are its ramp, with half of its samples:

    >>> none, no = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    >>> kernel = TracedWork(none, none, no, no, ~no, np.ones(1), 0)
    >>> resized_work_ns(np.array([100_000]), kernel, Resized(batch_ratio=0.5, ramp_s=5e-6))
    array([52500])
    """
    was = work_ns.astype(np.float64)
    split = np.where(np.isnan(work.split_ratio), 1 - to.alike_ratio, work.split_ratio)
    left = 1 + split * (1 / to.tensor_ratio - 1)
    left *= np.where(work.batch, to.batch_ratio, 1.0)
    ramp = np.minimum(was, NS_PER_S * to.ramp_s)
    kept = to.serial_ratio
    found = np.where(left == 1, was, ramp + (was - ramp) * (kept + (1 - kept) * left))
    wider = np.where(work.sheds, 1.0, to.tensor_ratio)
    shed = to.slower / np.where(work.sheds, to.tensor_ratio, 1.0)
    for members, grown, moved, hop_s in (
        (work.members, to.replicas_ratio * wider, shed, to.hop_s),
        (work.peers, to.tensor_ratio, to.tensor_slower * left, to.link_s),
    ):
        here = members > 0
        before = members.astype(np.float64)
        found = np.where(here, was * moved * _share(before, before * grown), found)
        hops = _hops(before * grown, work.trees) - _hops(before, work.trees)
        found += np.where(here, NS_PER_S * hop_s * hops, 0.0)
    return np.asarray(np.maximum(found, 0.0).round().astype(np.int64))


def _share(before: FloatArray, after: FloatArray) -> FloatArray:
    """Say what each member moves, to what it moved."""
    now = np.where(after > 1, (after - 1) / np.maximum(after, 1.0), 0.0)
    return np.asarray(now * before / np.maximum(before - 1, 1.0))


def _hops(members: FloatArray, trees: BoolArray) -> FloatArray:
    ring = np.maximum(members - 1, 0.0)
    tree = 2 * np.log2(np.maximum(members, 1.0))
    return np.asarray(np.where(trees, np.minimum(ring, tree), ring))
