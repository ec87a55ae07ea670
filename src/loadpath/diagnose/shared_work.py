"""Unequal data in traces: ranks that work on the same data are slow together, part by part of a step.

Traces number no microbatches, but a step repeats its kernels for each of them. All ranks of one
replica (tensor peers, stages) work on the same data; what they agree on beyond chance is the data's.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.labels import compact, joint_code
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.medians import medians

__all__ = ["device_kernels", "shared_work_ns", "unequal_work", "ways_to_part"]

REPEATED_RATIO = 0.9
"""A step has as many parts as the counts of kernels that hold this share of its work allow."""
FAR = 6.0
"""A middle further off than this many of its standard errors is no chance; as for microbatches."""
AGREEMENT_Z = 5.0
"""Standard deviations beyond which ranks that agree do so by no chance; as for microbatches."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """Excess of each rank in each part of each step, relative to its peers' level.

    `op` are the kernels that every part repeats, `cell` the row of each in the other columns.
    """

    op: NDArray[np.int64]
    cell: NDArray[np.int32]
    rank: NDArray[np.int32]
    step: NDArray[np.int32]
    part: NDArray[np.int64]
    excess: FloatArray


def shared_work_ns(job: CoupledJob, work_ns: FloatArray, level_ns: FloatArray) -> FloatArray:
    """Find the part of each kernel's work that all ranks of its replica agree on.

    Parameters
    ----------
    job : CoupledJob
        Job recorded in traces.
    work_ns, level_ns : (n_op,) arrays of float64
        Work, and its peers' level.

    Returns
    -------
    (n_op,) array of float64
        Work beyond the level that is the data's; 0 everywhere if that is not beyond chance.

    Notes
    -----
    Kernels are numbered by how often they occur in the step. A part's excess on one rank, less the
    mean of that rank's step, is multiplied with that of the next rank of the replica: without data
    in common the products are symmetric about 0, so that their sum over its root sum of squares is
    a standard normal variable. A rank's whole step may be slow for reasons of its own and counts
    for nothing; so a replica of one rank, and a step of one part, tell nothing. Which ranks are a
    replica, traces seldom say: of the ways to part them by who communicates with whom the one with
    the closest agreement is taken.
    """
    shared = np.zeros(job.n_op)
    parts = _parts(job, work_ns, level_ns)
    found = [(_agreement(parts, group), i, group) for i, group in enumerate(ways_to_part(job))]
    z, _, group = max(found, default=(0.0, 0, np.zeros(0, np.int64)), key=operator.itemgetter(0, 1))
    if z > AGREEMENT_Z:
        agreed = _agreed(parts, group)
        shared[parts.op] = agreed[parts.cell] * level_ns[parts.op]
    return shared


def unequal_work(job: CoupledJob, data_ns: FloatArray, level_ns: FloatArray) -> list[Candidate]:
    """Take unequal data as a cause; removing it balances the work of each step.

    Parameters
    ----------
    job : CoupledJob
        Job recorded in traces.
    data_ns, level_ns : (n_op,) arrays of float64
        Result of `shared_work_ns`, and the peers' level.

    Returns
    -------
    list of Candidate
        One candidate, or none where data is equal within chance.
    """
    op = np.flatnonzero(data_ns != 0)
    if not op.size:
        return []
    relative = data_ns[op] / level_ns[op]
    step = compact(job.op["step"].to_numpy()[op])[1]
    mean = np.bincount(step, data_ns[op]) / np.bincount(step, level_ns[op])
    rank = job.op["rank"].to_numpy()[op]
    ranks, own = compact(rank)
    most = ranks[np.argmax(np.bincount(own, data_ns[op]))]
    return [
        Candidate(
            kind="data",
            place="microbatch",
            mechanism="workload",
            key=f"data of unequal work, most on rank {most}",
            op=op.astype(np.int32),
            change_ns=(mean[step] - relative) * level_ns[op],
            significant=True,
            specificity=0,
        )
    ]


def ways_to_part(job: CoupledJob) -> list[NDArray[np.int64]]:
    """Part the ranks by who communicates with whom: pipelines, groups of a kind, and both joined.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    list of (n_rank,) arrays of int64
        Group of each rank, in the order of ranks; at least two groups, one with several ranks.
    """
    ranks = job.rank["rank"].sort().to_list()
    place = {rank: i for i, rank in enumerate(ranks)}
    used = job.instance.group_by("communicator").agg(
        pl.col("collective").cast(pl.String).is_in(["send", "recv"]).all().alias("paired")
    )
    groups = (
        used.join(job.communicator, on="communicator").select("paired", "members").unique().rows()
    )
    known = [(paired, tuple(sorted(place[r] for r in m if r in place))) for paired, m in groups]
    pairs = [members for paired, members in known if paired and len(members) > 1]
    families = _families(sorted({members for paired, members in known if not paired}))
    joined = [pairs, *families, *([*pairs, *family] for family in families if pairs)]
    ways = [_components(len(ranks), sets) for sets in joined]
    return [way for way in ways if 1 < np.unique(way).size < way.size]


def device_kernels(job: CoupledJob, level_ns: FloatArray) -> NDArray[np.int64]:
    """List ops that compute on devices: threads of ranks of one host may be slow together.

    Parameters
    ----------
    job : CoupledJob
        Job recorded in traces.
    level_ns : (n_op,) array of float64
        Level of each op; those without are left out.

    Returns
    -------
    (n,) array of int64
        Ops inside steps.
    """
    devices = job.lane.filter(pl.col("kind") == "device").select("rank", "lane")
    mine = (
        job.op.select("rank", "lane", "kind", "step")
        .with_columns(pl.Series("level", level_ns), pl.int_range(pl.len()).alias("op"))
        .filter((pl.col("kind") == "compute") & (pl.col("level") > 0) & (pl.col("step") >= 0))
        .join(devices, on=["rank", "lane"], how="semi", maintain_order="left")
    )
    return mine["op"].to_numpy()


def _families(groups: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Sort groups into families of one size that have no rank in common."""
    families: list[tuple[int, set[int], list[tuple[int, ...]]]] = []
    for members in groups:
        for size, taken, family in families:
            if size == len(members) and taken.isdisjoint(members):
                taken.update(members)
                family.append(members)
                break
        else:
            families.append((len(members), set(members), [members]))
    return [family for size, _, family in families if size > 1]


def _components(n: int, sets: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    """Lowest member of what sets tie together."""
    lowest = np.arange(n)
    changed = True
    while changed:
        before = lowest.copy()
        for members in sets:
            lowest[list(members)] = lowest[list(members)].min()
        changed = bool((before != lowest).any())
    return lowest


def _parts(job: CoupledJob, work_ns: FloatArray, level_ns: FloatArray) -> _Parts:
    """Take the excess of each rank in each part of each step."""
    op = device_kernels(job, level_ns)
    rank, lane, step, position = (
        job.op[name].to_numpy()[op] for name in ("rank", "lane", "step", "position")
    )
    kernel = job.op["op_class"].to_physical().to_numpy()[op]
    count = _sizes(joint_code(rank, lane, step, kernel))
    n_part = _number_of_parts(count, level_ns[op])
    part = position.astype(np.int64) * n_part // count
    kept = count % n_part == 0
    cells, cell = compact(joint_code(rank, step, part)[kept])
    example = np.empty(cells.size, np.int64)
    example[cell] = np.flatnonzero(kept)
    excess = medians(cell, (work_ns[op] / level_ns[op] - 1)[kept], cells.size)[0]
    own = compact(rank)[1][example]
    return _Parts(op[kept], cell, own, step[example], part[example], _beyond_own(own, excess))


def _sizes(code: NDArray[np.int64]) -> NDArray[np.int64]:
    number = compact(code)[1]
    return np.bincount(number)[number]


def _beyond_own(rank: NDArray[np.int32], excess: FloatArray) -> FloatArray:
    """Subtract what is a rank's own: its middle, where the spread of its parts does not allow it."""
    n_rank = int(rank.max(initial=-1)) + 1
    middle, n = medians(rank, excess, n_rank)
    spread = 1.4826 * medians(rank, np.abs(excess - middle[rank]), n_rank)[0]
    far = np.abs(middle) > FAR * spread / np.sqrt(n)
    return np.asarray(excess - np.where(far, middle, 0.0)[rank])


def _number_of_parts(count: NDArray[np.int64], weight: FloatArray) -> int:
    """Largest number that divides how often kernels occur which hold most of the work."""
    if not count.size:
        return 1
    counts, number = compact(count)
    weights = np.bincount(number, weight)
    enough = REPEATED_RATIO * weights.sum()
    possible = range(int(counts[-1]), 1, -1)
    return next((n for n in possible if weights[counts % n == 0].sum() >= enough), 1)


def _agreement(parts: _Parts, group: NDArray[np.int64]) -> float:
    """Say by how many standard deviations ranks of one group agree about the parts of steps."""
    if not parts.excess.size:
        return 0.0
    of_rank = compact(joint_code(parts.rank, parts.step))[1]
    even = parts.excess - (np.bincount(of_rank, parts.excess) / np.bincount(of_rank))[of_rank]
    same = joint_code(group[parts.rank], parts.step, parts.part)
    order = np.lexsort((parts.rank, same))
    even, same = even[order], same[order]
    product = (even[1:] * even[:-1])[same[1:] == same[:-1]]
    spread = float(np.sqrt((product**2).sum()))
    return float(product.sum()) / spread if spread > 0 else 0.0


def _agreed(parts: _Parts, group: NDArray[np.int64]) -> FloatArray:
    """Middle of what ranks say; of two, the smaller if both have the same sign; of one, nothing."""
    same, number = compact(joint_code(group[parts.rank], parts.step, parts.part))
    middle, n = medians(number, parts.excess, same.size)
    least = np.full(n.size, np.inf)
    np.minimum.at(least, number, parts.excess * np.sign(middle)[number])
    pair = np.sign(middle) * np.maximum(least, 0.0)
    return np.where(n > 2, middle, np.where(n == 2, pair, 0.0))[number]
