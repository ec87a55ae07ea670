"""Small coupled jobs of peers: ranks that do the same, step by step, with stages and links."""

from dataclasses import replace

import numpy as np
import polars as pl
from tests.diagnose.small_jobs import communicate, compute, job

from loadpath.tables import COMMUNICATOR, INSTANCE, MEMBERSHIP, RANK

MS = 1_000_000


def peers(works, *, transfer=20, steps=40, hosts=(), seed=None, noise=0.0):
    """Return a job whose ranks compute `works` (ms), then all meet, in every step.

    `works` is one number a rank, or one list of numbers a step.
    """
    rows = np.asarray(works, float)
    each = np.tile(rows, (steps, 1)) if rows.ndim == 1 else rows.copy()
    if noise:
        each *= np.random.default_rng(seed).lognormal(0, noise, each.shape)
    ops, meetings = [], []
    for step, row in enumerate(each.tolist()):
        met = []
        for rank, work in enumerate(row):
            ops.append(compute(rank, round(work * MS), step=step))
            met.append(len(ops))
            ops.append(communicate(rank, transfer * MS, step=step))
        meetings.append(met)
    return coupled(ops, meetings, hosts=hosts)


def coupled(ops, meetings, *, hosts=(), edges=(), op=None, device="unknown"):
    """Return the job of `ops` with its communicators; a host for each rank, columns of ops.

    `op` maps columns (stage, replica, microbatch, mechanism, op_class, ...) to values by op.
    """
    small = job(ops, meetings, edges)
    members = [tuple(sorted({ops[i].rank for i in met})) for met in meetings]
    labels = [
        f"{ops[met[0]].name} {','.join(map(str, who))}"
        for met, who in zip(meetings, members, strict=True)
    ]
    names = sorted(set(labels))
    member_op = [i for met in meetings for i in met]
    instance = [k for k, met in enumerate(meetings) for _ in met]
    group = np.full(len(ops), -1)
    group[member_op] = [names.index(labels[k]) for k in instance]
    mechanism = np.where(group >= 0, "communication", device)
    columns = {"communicator": group, "mechanism": mechanism, "op_class": small.op["name"]} | (
        op or {}
    )
    table = small.op.with_columns(
        pl.Series(name, values).cast(small.op.schema[name]) for name, values in columns.items()
    )
    ranks = sorted({o.rank for o in ops})
    return replace(
        small,
        op=table,
        rank=RANK.build({"rank": ranks, "host": list(hosts) or [""] * len(ranks)}),
        communicator=COMMUNICATOR.build(
            {
                "communicator": list(range(len(names))),
                "name": names,
                "n_members": [len(dict(zip(labels, members, strict=True))[n]) for n in names],
                "members": [list(dict(zip(labels, members, strict=True))[n]) for n in names],
            }
        ),
        instance=INSTANCE.build(
            {
                "instance": list(range(len(meetings))),
                "collective": [ops[met[0]].name for met in meetings],
                "n_members": [len(met) for met in meetings],
                "matched": [True] * len(meetings),
            }
        ),
        membership=MEMBERSHIP.build(
            pl.DataFrame({"op": member_op, "instance": instance}).with_columns(
                role=pl.lit("all"), contributes=pl.lit(value=True), waits=pl.lit(value=True)
            )
        ),
    )
