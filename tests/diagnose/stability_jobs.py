"""Jobs whose stability is known."""

import numpy as np
from tests.diagnose.peer_jobs import coupled, peers
from tests.diagnose.small_jobs import communicate, compute

from loadpath.couple.graph import EdgeKind
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.fidelity import measured_step_ns
from loadpath.diagnose.footing import lay_footing
from loadpath.diagnose.stability import Policy, stability_tables

MS = 1_000_000


def footing(job, seed=0):
    return lay_footing(job, nest_effects(job), np.random.default_rng(seed))


def vector(job, *, bound=0.05, gate=0.03, loads=False, seed=0):
    """Return the rows of the stability table by (load, factor, quantity, by, key)."""
    tables = stability_tables(
        footing(job, seed),
        measured_step_ns(job) / 1e9,
        Policy(bound, gate),
        np.random.default_rng(seed),
        loads=loads,
    )
    rows = tables["stability"].iter_rows(named=True)
    return {(r["load"], r["factor"], r["quantity"], r["by"], r["key"]): r for r in rows}, tables


def figure(rows, quantity, by="job", key="", *, load="recorded", factor=1.0):
    return rows[load, factor, quantity, by, key]


def bsp(works, *, transfer=0.001, steps=12, **noise):
    """Ranks that compute `works` (ms) and meet; a transfer too short to matter."""
    return peers(works, transfer=transfer, steps=steps, **noise)


def overlapped(compute_ms, transfer_ms, *, ranks=2, steps=10):
    """Every rank computes on one lane while it communicates on another: T = max of both.

    Both lanes of a rank wait for each other between steps.
    """
    ops, edges = [], []
    meetings: list[list[int]] = []
    for step in range(steps):
        met = []
        for rank in range(ranks):
            ops.append(compute(rank, round(compute_ms * MS), step=step))
            met.append(len(ops))
            ops.append(communicate(rank, round(transfer_ms * MS), lane=1, step=step))
        if meetings:
            edges += [(before, after - 1) for before, after in zip(meetings[-1], met, strict=True)]
            edges += [(before - 1, after) for before, after in zip(meetings[-1], met, strict=True)]
        meetings.append(met)
    return coupled(ops, meetings, edges=edges)


def neighbours(works_us):
    """Two ranks; after each of their turns each waits for what the other had done before it.

    x_i(k+1) = max(x_i(k) + w_i(k), x_j(k)), one step a turn; `works_us` is (n_turn, 2).
    """
    ops, edges = [], []
    last: list[int] = []
    for turn, row in enumerate(works_us.tolist()):
        ops += [compute(rank, round(1000 * work), step=turn) for rank, work in enumerate(row)]
        ops += [compute(rank, 0, name="join", step=turn) for rank in range(2)]
        joined = [len(ops) - 2, len(ops) - 1]
        if last:
            edges += [(last[1 - rank], joined[rank], EdgeKind.DATA) for rank in range(2)]
            edges += [(last[rank], joined[rank] - 2, EdgeKind.STEP) for rank in range(2)]
        last = joined
    return coupled(ops, [], edges=edges)
