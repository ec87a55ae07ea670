"""Hosts as candidate causes: one all of whose ranks are slow, and the pauses of all."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate, join
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.evidence import unit_p_values
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.rank_candidates import comparable, mechanisms_of
from loadpath.diagnose.rare_pauses import TAIL_SHAPES, in_spreads
from loadpath.diagnose.significance import ALPHA, Cells, cells_by_unit
from loadpath.diagnose.step_noise import by_steps
from loadpath.diagnose.tails import tail_shape

__all__ = ["common_hosts", "shared_hosts", "slow_hosts"]

PAUSE_SPREADS = 8.0
"""A host op is a pause when it exceeds its level by this many spreads of its class."""
BEYOND_TAIL = 5.0
"""Pauses must exceed what noise makes of their sum by this many standard deviations."""


def shared_hosts(job: CoupledJob, ranks: Sequence[Candidate]) -> list[Candidate]:
    """Join the ranks of each host all of whose ranks are slow beyond chance.

    Parameters
    ----------
    job : CoupledJob
        Job with hosts.
    ranks : sequence of Candidate
        Result of `rank_candidates`.

    Returns
    -------
    list of Candidate
        Hosts of two and more ranks.
    """
    place = {"kind": "host", "place": "host", "specificity": 1}
    found = []
    for mechanism in dict.fromkeys(c.mechanism for c in ranks):
        slow = {c.ranks[0]: c for c in ranks if c.mechanism == mechanism and c.significant}
        for host, members in _ranks_by_host(job).items():
            if all(m in slow for m in members):
                found.append(join([slow[m] for m in members], key=f"host {host}", **place))
    return found


def slow_hosts(
    job: CoupledJob, effects: Effects, slow: Collection[int], rng: np.random.Generator
) -> list[Candidate]:
    """Find hosts whose ranks are slow together, though each may be within its own noise.

    Of each host the half of the ranks with the largest excess is left out, and those that are known to
    be slow: they do not accuse their host. Work of devices is asked alone: the noise of host threads is
    rare, heavy, and one rank's at a time.

    Parameters
    ----------
    job : CoupledJob
        Job with hosts.
    effects : Effects
        Nested effects.
    slow : collection of int
        Ranks that are slow beyond chance.
    rng : numpy.random.Generator
        Source of the shuffles.

    Returns
    -------
    list of Candidate
        Hosts of two and more ranks, slow beyond chance.
    """
    rank, residual, members = job.op["rank"].to_numpy(), effects.residual_ns, _ranks_by_host(job)
    found = []
    for mechanism, mine in mechanisms_of(job, effects) if len(members) > 1 else ():
        if mechanism in {"device", "unknown"}:
            cells = cells_by_unit(job, np.where(mine, rank, -1).astype(np.int32), residual)
            alike = comparable(job, effects, cells, mine)
            for host in _beyond_chance(members, cells, alike, slow, rng=rng):
                op = np.flatnonzero(mine & np.isin(rank, members[host])).astype(np.int32)
                found.append(
                    Candidate(
                        kind="host",
                        place="host",
                        mechanism=mechanism,
                        key=f"host {host}",
                        op=op,
                        change_ns=-residual[..., op],
                        significant=True,
                        specificity=1,
                        ranks=members[host],
                        hosts=(host,),
                    )
                )
    return found


def _ranks_by_host(job: CoupledJob) -> dict[str, tuple[int, ...]]:
    """List the ranks of each host that has several, in order of names."""
    known = job.rank.filter(pl.col("host") != "").sort("host", "rank")
    groups = known.group_by("host", maintain_order=True).agg("rank").iter_rows()
    return {host: tuple(ranks) for host, ranks in groups if len(ranks) > 1}


def _beyond_chance(
    members: Mapping[str, tuple[int, ...]],
    cells: Cells,
    alike: tuple[FloatArray, NDArray[np.int64]],
    slow: Collection[int],
    *,
    rng: np.random.Generator,
) -> list[str]:
    """Test the mean excess of the less slow half of each host's ranks."""
    excess, stage = cells.excess_s * alike[0][:, None], alike[1]
    rest: dict[str, NDArray[np.int64]] = {}
    for host, ranks in members.items():
        row = np.flatnonzero(np.isin(cells.unit, ranks))
        calm = row[excess[row].sum(axis=1).argsort(kind="stable")][: (row.size + 1) // 2]
        calm = calm[~np.isin(cells.unit[calm], list(slow))]
        rest |= {host: calm} if calm.size and row.size > 1 else {}
    if len(rest) < 2:
        return []
    mean = np.stack([excess[row].mean(axis=0) for row in rest.values()])
    p = unit_p_values(
        Cells(np.arange(len(rest)), mean, cells.step),
        np.ones(len(rest)),
        np.array([stage[row].min() for row in rest.values()]),
        by_step_s=by_steps(mean, cells.step),
        rng=rng,
    )
    beyond = (p <= ALPHA) & (mean.sum(axis=1) > 0)
    return [host for host, is_named in zip(rest, beyond.tolist(), strict=True) if is_named]


def common_hosts(job: CoupledJob, effects: Effects) -> list[Candidate]:
    """Take the pauses of host threads on all ranks together, where hosts drive devices.

    Uniform slowness has no reference among peers, but pauses do: a host op far beyond what its
    own class needs, now on one rank and now on another; or time between calls far beyond that at
    other places of the program.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.

    Returns
    -------
    list of Candidate
        One candidate, or none where some rank has no pause.
    """
    host = job.op["mechanism"].is_in(["host", "input"]).to_numpy() & ~effects.is_transfer
    if not (job.lane["kind"] == "device").any():
        host &= effects.paused
    if not host.any():
        return []
    residual, at_one_place = effects.residual_ns, effects.paused[host]
    of_all = job.op["rank"].filter(effects.paused).n_unique() == job.rank.height
    by_spread, by_floor = in_spreads(job, effects, host)
    pause = (by_floor > PAUSE_SPREADS) | at_one_place
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
            significant=of_all or _beyond_tail(by_spread, pause, job.op["rank"].to_numpy()[host]),
            specificity=3,
            ranks=ranks,
            hosts=tuple(sorted(set(job.rank["host"].to_list()) - {""})),
        )
    ]


def _beyond_tail(by_spread: FloatArray, pause: NDArray[np.bool_], rank: NDArray[np.int32]) -> bool:
    """Say whether pauses are more than the tail of noise on the ranks that have fewer of them.

    The quarter of the ranks that pauses most is left out: it would be a cause of its own.
    """  # noqa: DOC201
    mean, square = _tail_moments(by_spread)
    n_op, total = np.bincount(rank), np.bincount(rank, np.where(pause, by_spread, 0.0))
    excess = (total - mean * n_op)[n_op > 0]
    least = np.argsort(excess, kind="stable")[: 3 * excess.size // 4]
    error = math.sqrt((square - mean**2) * float(n_op[n_op > 0][least].sum()))
    return float(excess[least].sum()) > BEYOND_TAIL * error


def _tail_moments(by_spread: FloatArray) -> tuple[float, float]:
    """Mean and mean square that noise has beyond the limit of pauses, per op.

    Its tail is extrapolated as a stretched exponential through the 80th and 90th percentiles.
    """  # noqa: DOC201
    at_80, at_90 = np.quantile(by_spread, [0.8, 0.9]).tolist()
    if at_80 <= 0:
        return 0.0, 0.0
    shape = tail_shape(at_80, at_90, TAIL_SHAPES)
    beyond = PAUSE_SPREADS * np.geomspace(1.0, 1e4, 2_001)
    share = np.exp(-math.log(10) * (beyond / at_90) ** shape)
    mean = PAUSE_SPREADS * share[0] + np.trapezoid(share, beyond)
    square = PAUSE_SPREADS**2 * share[0] + np.trapezoid(2 * beyond * share, beyond)
    return float(mean), float(square)
