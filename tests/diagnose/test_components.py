"""What is persistent and what is noise, on jobs where it was planted."""

import numpy as np
import pytest
from tests.diagnose.peer_jobs import MS, coupled
from tests.diagnose.small_jobs import communicate, compute
from tests.diagnose.stability_jobs import bsp, footing


def shares(job, rank):
    base = footing(job)
    mine = base.own & (job.op["rank"] == rank).to_numpy()
    parts = base.parts
    return float(parts.persistent_ns[mine].sum() / parts.mean_ns[mine].sum())


def test_parts_sum_to_the_work_of_every_op():
    job = bsp([70, 70, 90, 75], steps=20, seed=1, noise=0.05)
    parts = footing(job).parts
    total = parts.mean_ns + parts.persistent_ns + parts.data_ns + parts.noise_ns
    assert total == pytest.approx(job.work_ns)


def test_a_slow_rank_is_believed_whole():
    job = bsp([70] * 7 + [84], steps=40, seed=2, noise=0.03)
    assert shares(job, 7) == pytest.approx(0.2, abs=0.02)


def test_ranks_that_differ_by_noise_alone_are_shrunk_below_their_means():
    """Shrinking must lose less than believing every mean: the risk of James and Stein."""
    shrunk, believed = 0.0, 0.0
    for seed in range(6):
        job = bsp([70] * 16, steps=10, seed=seed, noise=0.05)
        found = np.array([shares(job, rank) for rank in range(16)])
        means = job.work_ns.reshape(10, 16, 2)[:, :, 0].mean(axis=0)
        shrunk += float((found**2).sum())
        believed += float(((means / means.mean() - 1) ** 2).sum())
    assert shrunk < 0.35 * believed


def test_under_eight_steps_nothing_is_called_persistent():
    job = bsp([70, 70, 70, 100], steps=7)
    assert not footing(job).parts.persistent_ns.any()


def test_what_only_one_turn_of_a_rank_does_is_persistent_too():
    """Each step rank 1 is slow in its first op and fast in its second; no rank mean shows it."""
    ops, meetings = [], []
    rng = np.random.default_rng(3)
    for step in range(24):
        for turn in range(2):
            met = []
            for rank in range(4):
                late = (0.3 if turn == 0 else -0.3) if rank == 1 else 0.0
                work = 50 * (1 + late) * (1 + 0.01 * rng.normal())
                ops.append(compute(rank, round(work * MS), step=step))
                met.append(len(ops))
                ops.append(communicate(rank, 1000, step=step))
            meetings.append(met)
    job = coupled(ops, meetings)
    base = footing(job)
    mine = base.own & (job.op["rank"] == 1).to_numpy()
    first = mine & (base.peers.turn == 0)
    assert base.parts.persistent_ns[first].mean() == pytest.approx(15 * MS, rel=0.1)


def test_what_one_rank_alone_writes_is_its_own():
    """Rank 1 writes a checkpoint of 30 ms in every second step; the others write none."""
    ops, meetings = [], []
    for step in range(16):
        met = []
        for rank in range(4):
            ops.append(compute(rank, 70 * MS, step=step))
            if rank == 1 and step % 2:
                ops.append(compute(rank, 30 * MS, name="save", kind="checkpoint", step=step))
            met.append(len(ops))
            ops.append(communicate(rank, 1000, step=step))
        meetings.append(met)
    job = coupled(ops, meetings)
    saves = (job.op["kind"] == "checkpoint").to_numpy()
    parts = footing(job).parts
    assert parts.persistent_ns[saves] == pytest.approx(30 * MS)
    assert not parts.persistent_ns[~saves].any()
