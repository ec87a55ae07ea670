"""What helps where non-determinism is the normal state: policies, replayed where the record allows.

A policy that needs what was not recorded is not assessed, and the missing input is named.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from loadpath.diagnose.backup import back_up
from loadpath.diagnose.buckets import resize_buckets
from loadpath.diagnose.footing import Footing
from loadpath.diagnose.labels import compact, joint_code, sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.policy_row import (
    FREE,
    Cost,
    Row,
    changed_steps_s,
    policy_row,
    policy_rows,
    unassessed,
)
from loadpath.diagnose.slow_ranks import move_slow_ranks

__all__ = ["policy_table"]


def policy_table(footing: Footing, culprits: Sequence[int] = ()) -> pl.DataFrame:
    """Predict what each policy would return, and what it takes.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    culprits : sequence of int
        Ranks that the verdict names.

    Returns
    -------
    polars.DataFrame
        Table `POLICY`, in the order replace, exclude, remap, bucket, overlap, backup, checkpoint.
    """
    rows = move_slow_ranks(footing, culprits)
    rows += [resize_buckets(footing), _overlap(footing), back_up(footing), _checkpoint(footing)]
    return policy_rows(rows)


def _overlap(footing: Footing) -> Row:
    """Hide every transfer behind work: no overlap can do more."""
    transfer = footing.effects.is_transfer
    if not transfer.any():
        return unassessed("overlap", "transfers", "communications of the job")
    hidden = _without(footing, np.where(transfer, footing.effects.work_ns, 0.0))
    basis = "replayed: at most, each transfer hidden as far as its channel has time for all"
    with_it = np.maximum(hidden, _busiest_channel_s(footing))
    return policy_row(footing, "overlap", "all transfers", with_it, basis=basis, cost=FREE)


def _busiest_channel_s(footing: Footing) -> FloatArray:
    """Seconds that the busiest lane of a rank transfers in each step: they cannot be hidden."""
    op = np.flatnonzero(footing.effects.is_transfer)
    lanes = [footing.job.op[name].to_numpy()[op] for name in ("rank", "lane")]
    lane = compact(joint_code(*lanes))[1].astype(np.int64)
    n_lane, n_step = int(lane.max(initial=-1)) + 1, footing.job.graph.step.size + 1
    code = footing.peers.step[op] * n_lane + lane
    busy = sum_by(code, footing.effects.work_ns[op], n_lane * n_step).reshape(n_step, n_lane)
    most: FloatArray = busy[:-1].max(axis=1) / 1e9
    return most


def _checkpoint(footing: Footing) -> Row:
    """Write checkpoints half as often: half of what the recorded writes cost the steps."""
    op = footing.job.op
    writes = (op["kind"] == "checkpoint").to_numpy() & (footing.effects.work_ns > 0)
    n = op.filter(pl.Series(writes))["step"].n_unique()
    if not n:
        missing = "writes of checkpoints in the record (ops of kind checkpoint)"
        return unassessed("checkpoint", "twice the interval", missing)
    without = _without(footing, np.where(writes, footing.effects.work_ns, 0.0))
    return policy_row(
        footing,
        "checkpoint",
        f"twice the interval; {n} of {footing.job.graph.step.size} steps write one",
        (footing.loaded.step_s + without) / 2,
        basis="replayed without writes, of which half are saved; writes outside the record are not in it",
        cost=Cost("a failure loses twice as many steps: weigh it with the failure rate"),
    )


def _without(footing: Footing, work: FloatArray) -> FloatArray:
    """Replay the job with less work: (n_step,) in s."""
    group = np.zeros(work.size, np.int64)
    return changed_steps_s(footing, -work, group, np.ones((1, 1)))[:, 0]
