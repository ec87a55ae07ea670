"""Data of unequal work in traces, which number no microbatches."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import coupled
from tests.diagnose.small_jobs import communicate, compute

from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.shared_work import unequal_work, ways_to_part

US = 1_000
KERNELS = {"gemm": 100, "norm": 10}
STEPS, PARTS, PAIRS = 20, 4, ((0, 1), (2, 3))


# Two pairs of tensor peers; in each part of a step two kernels, then the peers of a pair meet:
#   rank 0  gemm norm |tp| gemm norm |tp| ... adam |dp|
# `length` of (step, pair, part) is the work of a pair's data, `own` of (rank, step) a rank's own.
def trace(length, own=None, *, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    own = np.ones((4, STEPS)) if own is None else own
    ops, meetings = [], []

    def kernel(rank, name, work, step):
        spread = rng.lognormal(0.0, noise)
        ops.append(compute(rank, round(work * US * own[rank, step] * spread), name=name, step=step))

    def meet(ranks, name, step):
        meetings.append([len(ops) + k for k in range(len(ranks))])
        ops.extend(communicate(rank, 5 * US, name=name, step=step) for rank in ranks)

    for step in range(STEPS):
        for part in range(PARTS):
            for pair, ranks in enumerate(PAIRS):
                for rank in ranks:
                    for name, work in KERNELS.items():
                        kernel(rank, name, work * length[step, pair, part], step)
                meet(ranks, "tp", step)
        for rank in range(4):
            kernel(rank, "adam", 20, step)
        meet((0, 1, 2, 3), "dp", step)
    return as_trace(coupled(ops, meetings, device="device"))


def as_trace(small):
    position = pl.int_range(pl.len()).over("rank", "step", "name")
    op = small.op.with_columns(position.cast(pl.Int32).alias("position"))
    group = dict(zip(small.membership["instance"], small.membership["op"], strict=True))
    communicator = op["communicator"].gather([group[i] for i in small.instance["instance"]])
    instance = small.instance.with_columns(communicator.alias("communicator"))
    return replace(small, source="kineto", op=op, instance=instance)


def unequal(seed=1, spread=0.2):
    return np.random.default_rng(seed).lognormal(0.0, spread, (STEPS, 2, PARTS))


def named(small):
    effects = nest_effects(small)
    return unequal_work(small, effects.data_ns, effects.level_ns)


EQUAL = np.ones((STEPS, 2, PARTS))


def test_work_that_peers_share_is_the_datas():
    small, length = trace(unequal(), noise=0.0), unequal()
    effects = nest_effects(small)
    gemm = (small.op["name"] == "gemm").to_numpy()
    rank, step, part = (small.op[n].to_numpy()[gemm] for n in ("rank", "step", "position"))
    work = effects.level_ns[gemm] + effects.data_ns[gemm]
    np.testing.assert_allclose(work, 100 * US * length[step, rank // 2, part], rtol=1e-3)


def test_unequal_data_is_a_candidate_whose_removal_balances_each_step():
    small = trace(unequal())
    (data,) = named(small)
    assert (data.kind, data.place, data.mechanism) == ("data", "microbatch", "workload")
    step = small.op["step"].to_numpy()[data.op]
    moved = np.bincount(step, data.change_ns)
    assert np.abs(moved).max() < 1e-6 * np.abs(data.change_ns).sum()


@pytest.mark.parametrize("seed", range(10))
def test_equal_data_is_no_candidate(seed):
    assert named(trace(EQUAL, noise=0.05, seed=seed)) == []


def test_ranks_slow_for_whole_steps_are_no_data():
    own = np.random.default_rng(2).lognormal(0.0, 0.1, (4, STEPS))
    assert named(trace(EQUAL, own)) == []


def test_work_that_no_peer_shares_is_no_data():
    # each rank draws its own lengths: as noise that lasts for a part
    small = trace(EQUAL, noise=0.0)
    length = np.random.default_rng(3).lognormal(0.0, 0.2, (4, STEPS, PARTS))
    rank, step, place = (small.op[n].to_numpy() for n in ("rank", "step", "position"))
    kernel = small.op["name"].is_in(list(KERNELS)).to_numpy()
    work = np.where(kernel, small.work_ns * length[rank, step, place % PARTS], small.work_ns)
    assert named(replace(small, work_ns=work.astype(np.int64))) == []


def test_slow_rank_is_named_beside_unequal_data():
    own = np.ones((4, STEPS))
    own[1] = 1.6
    small = trace(unequal(), own)
    found = find_candidates(small, nest_effects(small), np.random.default_rng(0))
    assert {c.key for c in found if c.significant and c.place == "rank"} == {"rank 1"}
    assert [c.kind for c in found if c.significant and c.place == "microbatch"] == ["data"]


def test_kernels_of_one_part_a_step_tell_no_data():
    small = trace(unequal())
    once = small.op.with_columns(
        (pl.col("name").cast(pl.String) + pl.col("position").cast(pl.String))
        .cast(pl.Categorical).alias("op_class"),
        pl.lit(0, pl.Int32).alias("position"),
    )  # fmt: skip
    assert named(replace(small, op=once)) == []


def test_ranks_are_parted_by_who_communicates_with_whom():
    ways = [way.tolist() for way in ways_to_part(trace(EQUAL))]
    # tensor peers; the group of all is no part
    assert ways == [[0, 0, 2, 2]]
