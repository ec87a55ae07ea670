"""Candidate causes: a place, a mechanism, and what its ops would need without it.

Effects are nested: stage (its level against the other stages'), data (what all ops of one
microbatch share), rank and link (what remains of an op against its peers), and noise (the rest).
Each candidate takes its own effect out of the measured job and leaves the others in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.levels import FloatArray, peer_level_ns, stage_level_ns
from loadpath.diagnose.significance import (
    Cells,
    cells_by_unit,
    exchange_p_values,
    shares_workload,
)

__all__ = ["ALPHA", "Candidate", "Effects", "find_candidates", "nest_effects"]

ALPHA = 0.005
"""Family-wise error rate of each test; a stated policy, checked on null jobs."""
PAUSE_SPREADS = 8.0
"""A host op is a pause when it exceeds its level by this many spreads of its class."""
SHOWN = 3
"""Units that are kept for the record although they lie within the noise."""
MOST_UNITS = 64
"""Significant units judged one by one; further ones are judged together only."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What each op's work consists of.

    Attributes
    ----------
    work_ns : (n_op,) array of float64
        Measured work.
    level_ns : (n_op,) array of float64
        Peers' level within the stage.
    across_ns : (n_op,) array of float64
        Level if the stage did as the others do.
    data_ns : (n_op,) array of float64
        Part shared by all ops of a microbatch; 0 where that is not beyond chance.
    is_transfer : (n_op,) array of bool
        Members of communications.
    """

    work_ns: FloatArray
    level_ns: FloatArray
    across_ns: FloatArray
    data_ns: FloatArray
    is_transfer: NDArray[np.bool_]

    @property
    def residual_ns(self) -> FloatArray:
        """Work beyond level and data."""
        return self.work_ns - self.level_ns - self.data_ns

    @property
    def ideal_ns(self) -> FloatArray:
        """Work without any of the effects."""
        return np.asarray(np.minimum(self.level_ns, self.across_ns))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate cause.

    Attributes
    ----------
    kind, place, mechanism : str
        As in docs/verdicts.
    key : str
        Which one, in words.
    op : (n,) array of int32
        Ops it sits on.
    change_ns : (n,) array of float64
        What removing it adds to their work (mostly negative).
    significant : bool
        Beyond the job's own noise.
    specificity : int
        0 for a single rank, link or workload, growing with the place.
    ranks : tuple of int
        Ranks it sits on.
    hosts : tuple of str
        Their hosts, where known.
    stage : int
        Stage, -1 none.
    link : str
        Communicator, empty for none.
    p_value : float
        Of its test; NaN where the test is another.
    intermittent : bool
        Most of its excess lies in a minority of the blocks.
    members : tuple of str
        Keys of the candidates that it joins.
    """

    kind: str
    place: str
    mechanism: str
    key: str
    op: NDArray[np.int32]
    change_ns: FloatArray
    significant: bool
    specificity: int
    ranks: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()
    stage: int = -1
    link: str = ""
    p_value: float = float("nan")
    intermittent: bool = False
    members: tuple[str, ...] = field(default_factory=tuple)


def nest_effects(job: CoupledJob) -> Effects:
    """Split every op's work into level, stage effect, data effect and the rest.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    Effects
        Parts per op, in ns.
    """
    work = job.work_ns.astype(np.float64)
    level = peer_level_ns(job)
    is_transfer = np.zeros(job.n_op, np.bool_)
    is_transfer[job.membership["op"].to_numpy()] = True
    relative = np.divide(work - level, level, out=np.zeros_like(work), where=level > 0)
    relative[is_transfer] = 0.0
    shared = shares_workload(job, relative)
    data = _data_effect(job, relative) * level if shared else np.zeros_like(work)
    return Effects(work, level, stage_level_ns(job, level), data, is_transfer)


def find_candidates(job: CoupledJob, effects: Effects, rng: np.random.Generator) -> list[Candidate]:
    """List the candidate causes of a job, significant or not.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.
    rng : numpy.random.Generator
        Source of the permutations.

    Returns
    -------
    list of Candidate
        Ranks, sets of ranks, hosts, all hosts, links, stages and data; noise is not among them.
    """
    ranks = _rank_candidates(job, effects, rng)
    return [
        *ranks,
        *_joint_candidates(job, ranks),
        *_host_candidates(job, effects, ranks),
        *_all_hosts(job, effects),
        *_link_candidates(job, effects, rng),
        *_stage_candidates(job, effects),
        *_data_candidate(job, effects),
    ]


def _data_effect(job: CoupledJob, relative: FloatArray) -> FloatArray:
    """Relative effect of each microbatch on its ops: what all stages (or directions) agree on."""
    same = ["step", "replica", "microbatch"]
    frame = job.op.select(*same, "stage", "name", "rank", "kind").with_columns(
        pl.Series("r", relative)
    )
    mine = (pl.col("microbatch") >= 0) & (pl.col("kind") == "compute")
    n_stage = frame["stage"].n_unique()
    # with one stage nothing but the step's other microbatches tells data from a slow rank
    own = pl.col("r").median().over("rank", "name", *(["step"] if n_stage == 1 else []))
    frame = frame.with_columns(pl.when(mine).then(pl.col("r") - own).otherwise(0.0).alias("r"))
    key = [*same, "name"] if n_stage > 1 else same
    smaller = pl.col("r").sort_by(pl.col("r").abs()).first()
    agreed = pl.when(pl.col("r").min() * pl.col("r").max() > 0).then(smaller).otherwise(0.0)
    common = frame.filter(mine).group_by(key).agg(
        (pl.col("r").median() if n_stage > 2 else agreed).alias("data")
    )
    joined = frame.join(common, on=key, how="left", maintain_order="left")
    return joined.select(pl.when(mine).then("data").otherwise(0.0).fill_null(0.0))[
        "data"
    ].to_numpy()


def _mechanisms(job: CoupledJob, effects: Effects) -> list[tuple[str, NDArray[np.bool_]]]:
    """Groups of work that a rank can be slow in."""
    column = job.op["mechanism"].cast(pl.String).to_numpy()
    found = [m for m in ("device", "unknown", "host", "input") if (column == m).any()]
    return [(m, (column == m) & ~effects.is_transfer) for m in found]


def _rank_candidates(
    job: CoupledJob, effects: Effects, rng: np.random.Generator
) -> list[Candidate]:
    rank = job.op["rank"].to_numpy()
    hosts = dict(job.rank.select("rank", "host").iter_rows())
    found = []
    for mechanism, mine in _mechanisms(job, effects):
        residual = np.where(mine, effects.residual_ns, 0.0)
        cells = cells_by_unit(job, np.where(mine, rank, -1).astype(np.int32), residual)
        p = exchange_p_values(_comparable(job, effects, cells, mine), rng)
        for place in _worth_judging(cells, p):
            number = int(cells.unit[place])
            op = np.flatnonzero(mine & (rank == number)).astype(np.int32)
            found.append(
                Candidate(
                    kind="host" if mechanism in {"host", "input"} else "rank",
                    place="rank",
                    mechanism=mechanism,
                    key=f"rank {number}",
                    op=op,
                    change_ns=-effects.residual_ns[op],
                    significant=bool(p[place] <= ALPHA),
                    specificity=0,
                    ranks=(number,),
                    hosts=tuple(h for h in (hosts.get(number, ""),) if h),
                    p_value=float(p[place]),
                    intermittent=_is_intermittent(cells.excess_s[place]),
                )
            )
    return found


def _comparable(
    job: CoupledJob, effects: Effects, cells: Cells, mine: NDArray[np.bool_]
) -> FloatArray:
    """Excess of each rank relative to the work that its stage has, so that stages compare."""
    rank = job.op["rank"].to_numpy()[mine]
    total = np.bincount(
        np.searchsorted(cells.unit, rank), effects.level_ns[mine], minlength=cells.unit.size
    )
    typical = np.median(total[total > 0]) if (total > 0).any() else 1.0
    return np.asarray(cells.excess_s * (typical / np.maximum(total, typical * 1e-6))[:, None])


def _worth_judging(cells: Cells, p: FloatArray) -> list[int]:
    """Significant units, and the few largest others for the record."""
    total = cells.excess_s.sum(axis=1)
    by_excess = sorted(range(total.size), key=lambda i: (-total[i], i))
    significant = [i for i in by_excess if p[i] <= ALPHA and total[i] > 0][:MOST_UNITS]
    others = [i for i in by_excess if p[i] > ALPHA and total[i] > 0][:SHOWN]
    return significant + others


def _is_intermittent(excess_s: FloatArray) -> bool:
    """Half of the excess lies in a third of the blocks or fewer."""
    ordered = np.sort(np.maximum(excess_s, 0.0))[::-1]
    third = max(1, ordered.size // 3)
    return bool(ordered.size >= 3 and ordered[:third].sum() > 0.5 * ordered.sum() * 1.3)


def _join(candidates: Sequence[Candidate], **fields: object) -> Candidate:
    op = np.concatenate([c.op for c in candidates])
    order = np.argsort(op, kind="stable")
    base = {
        "mechanism": candidates[0].mechanism,
        "significant": all(c.significant for c in candidates),
        "ranks": tuple(sorted({r for c in candidates for r in c.ranks})),
        "hosts": tuple(sorted({h for c in candidates for h in c.hosts})),
        "members": tuple(c.key for c in candidates),
    }
    change = np.concatenate([c.change_ns for c in candidates])[order]
    return Candidate(op=op[order], change_ns=change, **(base | fields))  # type: ignore[arg-type]


def _joint_candidates(job: CoupledJob, ranks: Sequence[Candidate]) -> list[Candidate]:
    """All significant ranks of one mechanism together; and all mechanisms of one rank."""
    joint = []
    for mechanism in dict.fromkeys(c.mechanism for c in ranks):
        several = [c for c in ranks if c.mechanism == mechanism and c.significant]
        if len(several) < 2:
            continue
        several.sort(key=lambda c: float(c.change_ns.sum()))
        for n in range(2, min(len(several), 8) + 1):
            some = sorted(several[:n], key=lambda c: c.ranks)
            names = ", ".join(str(c.ranks[0]) for c in some)
            joint.append(
                _join(some, kind=some[0].kind, place="rank", key=f"ranks {names}", specificity=n - 1)
            )
    for number in dict.fromkeys(c.ranks[0] for c in ranks):
        same = [c for c in ranks if c.ranks == (number,) and c.significant]
        if len(same) > 1:
            joint.append(
                _join(
                    same,
                    kind="rank",
                    place="rank",
                    mechanism="unknown",
                    key=f"rank {number}",
                    specificity=1,
                )
            )
    return joint


def _host_candidates(
    job: CoupledJob, effects: Effects, ranks: Sequence[Candidate]
) -> list[Candidate]:
    """Hosts all of whose ranks are slow beyond chance."""
    known = job.rank.filter(pl.col("host") != "")
    found = []
    for mechanism in dict.fromkeys(c.mechanism for c in ranks):
        slow = {c.ranks[0]: c for c in ranks if c.mechanism == mechanism and c.significant}
        for host, group in sorted(known.group_by("host")):
            members = sorted(group["rank"].to_list())
            if len(members) >= 2 and all(m in slow for m in members):
                found.append(
                    _join(
                        [slow[m] for m in members],
                        kind="host",
                        place="host",
                        key=f"host {host[0]}",
                        specificity=1,
                    )
                )
    return found


def _all_hosts(job: CoupledJob, effects: Effects) -> list[Candidate]:
    """Pauses of host threads on all ranks, where the hosts drive devices."""
    mechanism = job.op["mechanism"].cast(pl.String).to_numpy()
    host = np.isin(mechanism, ["host", "input"]) & ~effects.is_transfer
    if not host.any() or not (mechanism == "device").any():
        return []
    residual = effects.residual_ns
    frame = pl.DataFrame({"c": job.op["op_class"], "r": np.abs(residual)}).filter(host)
    spread = frame.select(pl.col("r").quantile(0.75).over("c"))["r"].to_numpy()
    floor = 1_000.0
    pause = residual[host] > PAUSE_SPREADS * np.maximum(spread, floor)
    op = np.flatnonzero(host)[pause].astype(np.int32)
    ranks = tuple(sorted(set(job.op["rank"].gather(op).to_list())))
    everyone = len(ranks) == job.rank.height
    if not everyone:
        return []
    return [
        Candidate(
            kind="host",
            place="all",
            mechanism="host",
            key="all hosts",
            op=op,
            change_ns=-residual[op],
            significant=True,
            specificity=3,
            ranks=ranks,
            hosts=tuple(sorted(set(job.rank["host"].to_list()) - {""})),
        )
    ]


def _link_candidates(
    job: CoupledJob, effects: Effects, rng: np.random.Generator
) -> list[Candidate]:
    """Communicators whose transfers are slower than those of their like."""
    communicator = np.where(effects.is_transfer, job.op["communicator"].to_numpy(), -1).astype(np.int32)
    table = {row["communicator"]: row for row in job.communicator.iter_rows(named=True)}
    hosts = dict(job.rank.select("rank", "host").iter_rows())
    found = []
    for family in _families(job, communicator):
        unit = np.where(np.isin(communicator, family), communicator, -1).astype(np.int32)
        cells = cells_by_unit(job, unit, np.where(unit >= 0, effects.residual_ns, 0.0))
        p = exchange_p_values(cells.excess_s, rng)
        for place in _worth_judging(cells, p):
            number = int(cells.unit[place])
            op = np.flatnonzero(unit == number).astype(np.int32)
            row = table[number]
            ranks = tuple(row["members"]) or tuple(sorted(set(job.op["rank"].gather(op).to_list())))
            found.append(
                Candidate(
                    kind="link",
                    place="link" if len(ranks) == 2 else "group",
                    mechanism="communication",
                    key=str(row["name"]),
                    op=op,
                    change_ns=-effects.residual_ns[op],
                    significant=bool(p[place] <= ALPHA),
                    specificity=0,
                    ranks=ranks,
                    hosts=tuple(sorted({hosts.get(r, "") for r in ranks} - {""})),
                    link=str(row["name"]),
                    p_value=float(p[place]),
                    intermittent=_is_intermittent(cells.excess_s[place]),
                )
            )
    return found


def _families(job: CoupledJob, communicator: NDArray[np.int32]) -> Iterable[list[int]]:
    """Communicators that do the same: same size and same classes of ops."""
    likes = (
        pl.DataFrame({"communicator": communicator, "c": job.op["op_class"].cast(pl.String)})
        .filter(pl.col("communicator") >= 0)
        .group_by("communicator")
        .agg(pl.col("c").unique().sort().str.join("|"))
        .join(job.communicator.select("communicator", "n_members"), on="communicator")
        .group_by("c", "n_members")
        .agg(pl.col("communicator").sort())
        .sort("c", "n_members")
    )
    return [family for family in likes["communicator"].to_list() if len(family) > 1]


def _stage_candidates(job: CoupledJob, effects: Effects) -> list[Candidate]:
    """Stages whose level lies above the other stages'."""
    excess = effects.level_ns - effects.across_ns
    stage = job.op["stage"].to_numpy()
    last = int(stage.max(initial=0))
    hosts = dict(job.rank.select("rank", "host").iter_rows())
    found = []
    for s in range(last + 1):
        op = np.flatnonzero((stage == s) & (excess != 0)).astype(np.int32)
        total = float(excess[op].sum())
        if total <= 0:
            continue
        ranks = tuple(sorted(set(job.op["rank"].gather(op).to_list())))
        found.append(
            Candidate(
                kind="stage",
                place="stage",
                mechanism="device" if job.source == "kineto" else "unknown",
                key=f"stage {s}",
                op=op,
                change_ns=-excess[op],
                significant=_stands_out(job, effects, op),
                specificity=2,
                ranks=ranks,
                hosts=tuple(sorted({hosts.get(r, "") for r in ranks} - {""})),
                stage=s,
            )
        )
    return found


def _stands_out(job: CoupledJob, effects: Effects, op: NDArray[np.int32]) -> bool:
    """The stage's excess exceeds what noise makes of a sum over its ops, five times over."""
    total = float((effects.level_ns - effects.across_ns)[op].sum())
    rest = effects.residual_ns[op]
    spread = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    return total > 5.0 * spread * np.sqrt(op.size)


def _data_candidate(job: CoupledJob, effects: Effects) -> list[Candidate]:
    """Microbatches of unequal work; removing them balances each step."""
    if not effects.data_ns.any():
        return []
    relative = np.divide(
        effects.data_ns,
        effects.level_ns,
        out=np.zeros_like(effects.data_ns),
        where=effects.level_ns > 0,
    )
    mine = (job.op["microbatch"] >= 0).to_numpy() & (job.op["kind"] == "compute").to_numpy()
    frame = job.op.select("step", "name", "replica", "microbatch").with_columns(
        pl.Series("r", relative), pl.Series("mine", mine)
    )
    mean = frame.select(
        pl.when("mine").then(pl.col("r").filter(pl.col("mine")).mean().over("step", "name")).alias("m")
    )["m"]
    op = np.flatnonzero(mine).astype(np.int32)
    change = (-(relative - mean.fill_null(0.0).to_numpy()) * effects.level_ns)[op]
    worst = (
        frame.filter("mine").group_by("replica").agg(pl.col("r").mean()).sort("r", "replica").row(-1)
    )
    return [
        Candidate(
            kind="data",
            place="microbatch",
            mechanism="workload",
            key=f"microbatches of unequal work, most on replica {worst[0]}",
            op=op,
            change_ns=change,
            significant=True,
            specificity=0,
        )
    ]
