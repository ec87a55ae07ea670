"""What the work of recorded ops follows, and how long they take with other replicas, samples and widths."""

import numpy as np
import polars as pl
import pytest

from loadpath.audit.pipeline import run_audit
from loadpath.forecast.traced_work import (
    Resized,
    TracedWork,
    parts_of_instances,
    resized_work_ns,
    traced_work,
)
from loadpath.testing import make_job, write_kineto


def work_of(members=(), peers=(), *, batch=True, split=0.0, sheds=False, trees=False):
    """One op for each entry: of a group between replicas, or of ranks of a tensor; or a kernel."""
    n = max(len(members), len(peers), 1)
    group, within = (
        np.array([*told, *[0] * (n - len(told))], np.int64) for told in (members, peers)
    )
    by_name = {"trees": trees, "sheds": sheds, "batch": batch, "split_ratio": split}
    columns = {name: np.full(n, value) for name, value in by_name.items()}
    return TracedWork(members=group, peers=within, tensor=2, **columns)


def taken(work, to, was=100_000):
    return resized_work_ns(np.full(len(work.members), was), work, to).tolist()


def test_job_of_the_recorded_size_takes_what_it_took():
    for work in (work_of([4], batch=False), work_of([0], [2]), work_of(split=1.0)):
        assert taken(work, Resized(ramp_s=5e-6, serial_ratio=0.1, hop_s=1e-6)) == [100_000]


def test_kernel_with_half_of_its_samples_keeps_its_ramp_and_serial_share():
    # 10 us stay; of 90 us a tenth stays, and half of the rest.
    to = Resized(batch_ratio=0.5, ramp_s=10e-6, serial_ratio=0.1)
    assert taken(work_of(), to) == [10_000 + 9_000 + 40_500]
    assert taken(work_of(batch=False), to) == [100_000]


def test_kernel_shorter_than_its_ramp_does_not_follow_samples():
    assert taken(work_of(), Resized(batch_ratio=0.1, ramp_s=10e-6), was=4_000) == [4_000]


@pytest.mark.parametrize(
    ("split", "alike", "ns"), [(1.0, 0.0, 50_000), (0.0, 0.0, 100_000), (np.nan, 0.4, 70_000)]
)
def test_wider_tensor_shares_out_what_is_split(split, alike, ns):
    to = Resized(tensor_ratio=2.0, alike_ratio=alike)
    assert taken(work_of(split=split), to) == [ns]


def test_ring_of_more_replicas_moves_its_share_and_more_hops():
    # Of two members each moves half of the whole, of four three quarters; 3 hops in place of 1.
    to = Resized(replicas_ratio=2.0, hop_s=1e-6)
    assert taken(work_of([2], batch=False), to) == [150_000 + 2_000]


def test_all_reduce_of_many_takes_the_hops_of_a_tree():
    to = Resized(replicas_ratio=64.0, hop_s=1e-6)
    # Ring of 2: 1 hop; tree of 128: 14.
    [ns] = taken(work_of([2], batch=False, trees=True), to, was=0)
    assert ns == 13_000


def test_alone_nothing_is_moved():
    assert taken(work_of([4], batch=False), Resized(replicas_ratio=0.25)) == [0]


def test_wider_tensor_moves_activations_of_the_batch_and_sheds_weights():
    to = Resized(tensor_ratio=2.0, batch_ratio=0.5)
    # Of 2 to 4 peers 1.5 times the bytes, of half of the samples; gradients of half of the weights.
    assert taken(work_of([0], [2]), to) == [75_000]
    assert taken(work_of([4], batch=False, sheds=True), to) == [50_000]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    made = make_job(
        1, recorder="kineto", pp=2, dp=2, tp=2, steps=4, microbatches=2, skewed_ratio=0.0
    )
    return run_audit(write_kineto(made, tmp_path_factory.mktemp("grid") / "job"), brief=False).job


def test_ops_of_a_grid_follow_what_their_names_and_groups_say(grid):
    replica = dict(grid.rank.select("rank", "dp").iter_rows())
    work = traced_work(grid, parts_of_instances(grid, replica))
    name = grid.op["name"].cast(str).to_numpy()
    group = dict(grid.communicator.select("communicator", "description").iter_rows())
    of = np.array([group.get(number, "") for number in grid.op["communicator"].to_list()])

    def told(column, rows):
        return set(getattr(work, column)[rows].tolist())

    adam = np.array(["FusedAdam" in one for one in name])
    norm = np.array(["layer_norm" in one and "kernel" in one for one in name])
    product = np.array(["gemm" in one or "nvjet" in one for one in name])
    assert (told("batch", adam), told("split_ratio", adam)) == ({False}, {1.0})
    assert (told("batch", norm), told("split_ratio", norm)) == ({True}, {0.0})
    assert (told("batch", product), told("split_ratio", product)) == ({True}, {1.0})
    data = (of == "DATA_PARALLEL_GROUP") & (grid.op["mechanism"] == "communication").to_numpy()
    tensor = (of == "TENSOR_MODEL_PARALLEL_GROUP") & (
        grid.op["mechanism"] == "communication"
    ).to_numpy()
    assert (told("members", data), told("sheds", data), told("batch", data)) == (
        {2},
        {True},
        {False},
    )
    assert (told("peers", tensor), told("members", tensor), told("batch", tensor)) == (
        {2},
        {0},
        {True},
    )
    host = (grid.op["mechanism"] == "host").to_numpy()
    assert told("batch", host) == {False}


def test_norms_are_split_where_the_sequence_is(grid):
    replica = dict(grid.rank.select("rank", "dp").iter_rows())
    parts = parts_of_instances(grid, replica)
    scattered = parts.with_columns(pl.lit("reduce_scatter").alias("collective"))
    split = traced_work(grid, scattered).split_ratio
    norm = grid.op["name"].cast(str).str.contains("layer_norm_kernel").to_numpy()
    assert set(split[norm].tolist()) == {1.0}
