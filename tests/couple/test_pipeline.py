import itertools
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.couple.readable import couple_pipeline, labels, meetings, orders
from tests.ingest.op_rows import read, table, worker

from loadpath.errors import StructureError
from loadpath.ingest.op_table import read_op_table
from loadpath.testing import make_job, write_op_table


@pytest.fixture
def couple(tmp_path):
    return lambda *workers, **layout: couple_pipeline(read(tmp_path, table(*workers), **layout))


def caveats(job):
    return dict(zip(job.caveat["code"], job.caveat["n"], strict=True))


def followers(job, label):
    return {b for a, b in orders(job) if a == label}


def leaders(job, label):
    return {a for a, b in orders(job) if b == label}


# |F0 0-10|F1 10-20|B0 20-40|
def test_computations_of_a_worker_follow_each_other_in_the_order_they_ran(couple):
    job = couple(worker(0, forward_compute=[(0, 10), (10, 20)], backward_compute=[(20, 40)]))
    assert orders(job) == {
        ("forward-compute 0 r0", "forward-compute 1 r0"),
        ("forward-compute 1 r0", "backward-compute 0 r0"),
    }


def test_computations_of_different_workers_do_not_follow_each_other(couple):
    job = couple(worker(0, forward_compute=[(0, 10)]), worker(1, dp=1, forward_compute=[(10, 20)]))
    assert orders(job) == set()


# Stage 0 sends forward twice and receives backward twice.
def two_stages(**more):
    return (
        worker(
            0,
            forward_compute=[(0, 10), (10, 20)],
            backward_compute=[(42, 52), (52, 62)],
            forward_send=[(10, 12), (20, 22)],
            backward_recv=[(10, 42), (42, 52)],
            **more,
        ),
        worker(
            1,
            stage=1,
            forward_compute=[(12, 22), (32, 42)],
            backward_compute=[(22, 32), (42, 50)],
            forward_recv=[(0, 12), (13, 22)],
            backward_send=[(32, 42), (50, 52)],
            **more,
        ),
    )


def test_transfers_of_one_direction_and_role_are_a_stream(couple):
    found = orders(couple(*two_stages()))
    for stream in ("forward-send", "backward-recv"):
        assert (f"{stream} 0 r0", f"{stream} 1 r0") in found
    for stream in ("forward-recv", "backward-send"):
        assert (f"{stream} 0 r1", f"{stream} 1 r1") in found


def test_different_streams_do_not_hold_each_other(couple):
    transfers = {"forward-send", "forward-recv", "backward-send", "backward-recv"}
    for a, b in orders(couple(*two_stages())):
        if {a.split()[0], b.split()[0]} <= transfers:
            assert a.split()[0] == b.split()[0]


def test_send_follows_its_computation(couple):
    found = orders(couple(*two_stages()))
    assert ("forward-compute 1 r0", "forward-send 1 r0") in found
    assert ("backward-compute 1 r1", "backward-send 1 r1") in found


def test_receive_comes_before_its_computation(couple):
    found = orders(couple(*two_stages()))
    assert ("forward-recv 1 r1", "forward-compute 1 r1") in found
    assert ("backward-recv 1 r0", "backward-compute 1 r0") in found


# Stage 1 ran F0 B0 F1: the receive of F1 was posted after F0, not after B0.
def test_receive_follows_the_computation_before_it_of_the_same_direction(couple):
    found = leaders(couple(*two_stages()), "forward-recv 1 r1")
    assert "forward-compute 0 r1" in found
    assert "backward-compute 0 r1" not in found


def test_first_receive_of_the_forward_pass_waits_for_no_computation(couple):
    assert leaders(couple(*two_stages()), "forward-recv 0 r1") == set()


# |F0|F1|F2|B0|: the first backward receive stands behind F1
def test_first_backward_receive_follows_the_second_last_forward_before_it(couple):
    job = couple(
        worker(
            0,
            forward_compute=[(0, 10), (10, 20), (20, 30)],
            backward_compute=[(40, 60)],
            backward_recv=[(30, 40)],
        )
    )
    assert leaders(job, "backward-recv 0 r0") == {"forward-compute 1 r0"}


def test_first_backward_send_follows_the_second_last_forward_and_its_computation(couple):
    job = couple(
        worker(
            1,
            stage=1,
            forward_compute=[(0, 10), (10, 20)],
            backward_compute=[(20, 40)],
            backward_send=[(40, 42)],
        )
    )
    assert leaders(job, "backward-send 0 r1") == {"forward-compute 0 r1", "backward-compute 0 r1"}


def test_with_one_forward_before_the_first_backward_there_is_no_such_rule(couple):
    job = couple(
        worker(
            1,
            stage=1,
            forward_compute=[(0, 10)],
            backward_compute=[(10, 30)],
            backward_send=[(30, 32)],
        )
    )
    assert leaders(job, "backward-send 0 r1") == {"backward-compute 0 r1"}


def test_send_meets_the_receive_of_the_next_stage_in_order(couple):
    assert meetings(couple(*two_stages())) == {
        ("forward-recv 0 r1", "forward-send 0 r0"),
        ("forward-recv 1 r1", "forward-send 1 r0"),
        ("backward-recv 0 r0", "backward-send 0 r1"),
        ("backward-recv 1 r0", "backward-send 1 r1"),
    }


def test_replicas_send_to_themselves(couple):
    workers = [
        rows
        for dp in (0, 1)
        for rows in (
            worker(dp, dp=dp, forward_compute=[(0, 10)], forward_send=[(10, 12)]),
            worker(dp + 2, dp=dp, stage=1, forward_compute=[(12, 22)], forward_recv=[(0, 12)]),
        )
    ]
    assert meetings(couple(*workers)) == {
        ("forward-recv 0 r2", "forward-send 0 r0"),
        ("forward-recv 0 r3", "forward-send 0 r1"),
    }


# all-gathers of chunk 0, 1, then forwards of chunk 0, 0, 1
def gathering():
    return [
        worker(
            dp,
            dp=dp,
            params_all_gather=[(0, 2, 0), (2, 4, 0), (4, 6, 1)],
            forward_compute=[(4, 10, 0), (10, 20, 0), (20, 30, 1)],
        )
        for dp in (0, 1)
    ]


def test_last_all_gather_of_a_chunk_comes_before_its_first_forward(couple):
    found = orders(couple(*gathering(), vpp_size=2))
    assert ("params-all-gather 1 r0", "forward-compute 0 r0") in found
    assert ("params-all-gather 2 r0", "forward-compute 2 r0") in found
    assert followers(couple(*gathering(), vpp_size=2), "params-all-gather 0 r0") == {
        "params-all-gather 1 r0"
    }


def test_data_parallel_communication_meets_its_like_on_all_replicas_of_the_stage(couple):
    assert meetings(couple(*gathering(), vpp_size=2)) == {
        (f"params-all-gather {k} r0", f"params-all-gather {k} r1") for k in range(3)
    }


# What follows the last computation of a worker.
def tail(rank, *, stage=0, dp=0, step=0, **more):
    return worker(
        rank,
        stage=stage,
        dp=dp,
        step=step,
        forward_compute=[(0, 10)],
        backward_compute=[(10, 30)],
        gc=[(30, 31)],
        layernorm_grads_all_reduce=[(31, 32)],
        embedding_grads_all_reduce=[(32, 33)],
        optimizer_clip_main_grad=[(38, 39)],
        optimizer=[(39, 41)],
        **more,
    )


def chain(*names):
    return set(itertools.pairwise(names))


def test_tail_of_a_step_is_a_chain_with_the_reduce_scatters_before_the_clip(couple):
    workers = [tail(dp, dp=dp, grads_reduce_scatter=[(33, 35), (35, 38)]) for dp in (0, 1)]
    expected = chain(
        "backward-compute 0 r0",
        "gc 0 r0",
        "layernorm-grads-all-reduce 0 r0",
        "embedding-grads-all-reduce 0 r0",
        "grads-reduce-scatter 0 r0",
        "grads-reduce-scatter 1 r0",
        "optimizer-clip-main-grad 0 r0",
        "optimizer 0 r0",
    )
    assert expected <= orders(couple(*workers))


# Chunk 1 is done before chunk 0: its gradients are reduced while chunk 0 still computes.
def overlapped(dp):
    return worker(
        dp,
        dp=dp,
        forward_compute=[(0, 5, 0), (5, 10, 1)],
        backward_compute=[(10, 20, 1), (20, 30, 0)],
        grads_reduce_scatter=[(20, 24, 1), (30, 34, 0)],
        gc=[(30, 31)],
        layernorm_grads_all_reduce=[(34, 35)],
        embedding_grads_all_reduce=[(35, 36)],
        separate_grads_all_reduce=[(36, 38)],
        optimizer_clip_main_grad=[(38, 39)],
        optimizer=[(39, 41)],
    )


def test_separate_gradients_let_reduce_scatters_follow_the_last_backward_of_their_chunk(couple):
    job = couple(overlapped(0), overlapped(1), vpp_size=2)
    assert leaders(job, "grads-reduce-scatter 0 r0") == {"backward-compute 0 r0"}
    assert leaders(job, "grads-reduce-scatter 1 r0") == {
        "backward-compute 1 r0",
        "grads-reduce-scatter 0 r0",
    }


def test_with_separate_gradients_the_tail_waits_for_collection_and_the_last_reduce_scatter(couple):
    job = couple(overlapped(0), overlapped(1), vpp_size=2)
    assert leaders(job, "gc 0 r0") == {"backward-compute 1 r0"}
    assert leaders(job, "layernorm-grads-all-reduce 0 r0") == {
        "gc 0 r0",
        "grads-reduce-scatter 1 r0",
    }
    assert chain(
        "layernorm-grads-all-reduce 0 r0",
        "embedding-grads-all-reduce 0 r0",
        "separate-grads-all-reduce 0 r0",
        "optimizer-clip-main-grad 0 r0",
        "optimizer 0 r0",
    ) <= orders(job)


def test_separate_gradients_meet_on_all_replicas(couple):
    job = couple(overlapped(0), overlapped(1), vpp_size=2)
    assert ("separate-grads-all-reduce 0 r0", "separate-grads-all-reduce 0 r1") in meetings(job)


def test_tail_follows_the_computation_that_ended_last(couple):
    job = couple(
        worker(0, forward_compute=[(0, 50)], backward_compute=[(10, 30)], optimizer=[(50, 60)])
    )
    assert leaders(job, "optimizer 0 r0") == {"forward-compute 0 r0"}


def test_ops_missing_from_the_tail_are_bridged(couple):
    job = couple(worker(0, backward_compute=[(0, 10)], optimizer=[(10, 12)]))
    assert orders(job) == {("backward-compute 0 r0", "optimizer 0 r0")}


def test_embedding_gradients_meet_on_the_first_and_last_stage_of_each_replica(couple):
    workers = [tail(2 * s + dp, stage=s, dp=dp) for s in range(3) for dp in (0, 1)]
    found = {group for group in meetings(couple(*workers)) if "embedding" in group[0]}
    name = "embedding-grads-all-reduce 0"
    assert found == {(f"{name} r0", f"{name} r4"), (f"{name} r1", f"{name} r5")}


def test_gradient_clip_meets_on_all_stages_and_replicas(couple):
    workers = [tail(2 * s + dp, stage=s, dp=dp) for s in range(2) for dp in (0, 1)]
    clips = tuple(f"optimizer-clip-main-grad 0 r{rank}" for rank in range(4))
    assert clips in meetings(couple(*workers))


def test_layernorm_gradients_meet_nobody(couple):
    workers = [tail(2 * s + dp, stage=s, dp=dp) for s in range(2) for dp in (0, 1)]
    assert not any("layernorm" in label for group in meetings(couple(*workers)) for label in group)


def test_without_data_parallelism_reduce_scatters_stay_in_the_tail_and_meet_nobody(couple):
    job = couple(tail(0, grads_reduce_scatter=[(33, 38)]))
    assert meetings(job) == set()
    assert leaders(job, "grads-reduce-scatter 0 r0") == {"embedding-grads-all-reduce 0 r0"}


def test_one_recorded_replica_of_a_sharded_job_waits_for_nobody_unrecorded(couple):
    job = couple(tail(0, grads_reduce_scatter=[(33, 38)]), dp_size=1, dsp_size=2)
    assert meetings(job) == set()
    assert caveats(job) == {}


def test_job_of_one_stage_sends_nothing(couple):
    job = couple(tail(0), tail(1, dp=1))
    assert meetings(job) == {("optimizer-clip-main-grad 0 r0", "optimizer-clip-main-grad 0 r1")}


# Two receives were posted after the last forward had begun: they never ran.
def test_receive_posted_after_the_last_computation_meets_nobody(couple):
    job = couple(
        worker(0, forward_compute=[(0, 10)], forward_send=[(10, 12)]),
        worker(1, stage=1, forward_compute=[(12, 22)], forward_recv=[(0, 12), (13, 14), (15, 16)]),
    )
    assert meetings(job) == {("forward-recv 0 r1", "forward-send 0 r0")}
    assert caveats(job) == {"layout_assumed": 1}


def test_send_that_ended_before_the_first_computation_meets_nobody(couple):
    job = couple(
        worker(0, forward_compute=[(5, 10)], forward_send=[(0, 1), (10, 12)]),
        worker(1, stage=1, forward_compute=[(12, 22)], forward_recv=[(0, 12)]),
    )
    assert meetings(job) == {("forward-recv 0 r1", "forward-send 1 r0")}
    assert leaders(job, "forward-send 1 r0") == {"forward-compute 0 r0", "forward-send 0 r0"}


def test_times_within_fifty_microseconds_count_as_one_moment(couple):
    job = couple(
        worker(0, forward_compute=[(0, 10)], forward_send=[(10, 12)]),
        worker(1, stage=1, forward_compute=[(12, 22)], forward_recv=[(12.04, 13)]),
    )
    assert ("forward-recv 0 r1", "forward-send 0 r0") in meetings(job)


# The first stage has nothing to receive from, the last nothing to send to.
def test_recorded_transfers_beyond_the_ends_of_the_pipeline_meet_nobody(couple):
    job = couple(
        worker(0, forward_compute=[(1, 10)], forward_recv=[(0, 1)], forward_send=[(10, 12)]),
        worker(
            1, stage=1, forward_compute=[(12, 22)], forward_recv=[(0, 12)], forward_send=[(22, 23)]
        ),
    )
    assert meetings(job) == {("forward-recv 0 r1", "forward-send 0 r0")}
    assert ("forward-recv 0 r0", "forward-compute 0 r0") in orders(job)


# Two stages, two chunks each: 0/0 -> 1/0 -> 0/1 -> 1/1
def interleaved(*, first_receive=True):
    begin = [(0, 1)] if first_receive else []
    return (
        worker(
            0,
            forward_compute=[(1, 10, 0), (24, 34, 1)],
            forward_recv=[*begin, (11, 24)],
            forward_send=[(10, 12), (34, 36)],
        ),
        worker(
            1,
            stage=1,
            forward_compute=[(12, 22, 0), (36, 46, 1)],
            forward_recv=[(0, 12), (13, 36)],
            forward_send=[(22, 24), (46, 47)],
        ),
    )


def test_last_stage_hands_a_chunk_back_to_the_first_stage(couple):
    assert meetings(couple(*interleaved(), vpp_size=2)) == {
        ("forward-recv 0 r1", "forward-send 0 r0"),
        ("forward-recv 1 r0", "forward-send 0 r1"),
        ("forward-recv 1 r1", "forward-send 1 r0"),
    }


def test_where_the_first_receive_is_missing_the_others_serve_the_later_computations(couple):
    job = couple(*interleaved(first_receive=False), vpp_size=2)
    assert meetings(job) == {
        ("forward-recv 0 r1", "forward-send 0 r0"),
        ("forward-recv 0 r0", "forward-send 0 r1"),
        ("forward-recv 1 r1", "forward-send 1 r0"),
    }
    assert followers(job, "forward-recv 0 r0") == {"forward-compute 1 r0"}
    assert "uneven_transfers" not in caveats(job)


def test_chunks_are_classes_of_their_own(couple):
    job = couple(*interleaved(), vpp_size=2)
    assert {"forward-compute", "forward-compute chunk 1"} <= set(job.op["op_class"])


def test_too_many_receives_for_the_computations_are_a_caveat(couple):
    job = couple(
        worker(0, forward_compute=[(0, 10)], forward_send=[(10, 12)]),
        worker(1, stage=1, forward_compute=[(12, 22)], forward_recv=[(0, 4), (4, 8), (8, 12)]),
    )
    assert caveats(job)["uneven_transfers"] == 1


def test_send_whose_receiver_is_not_recorded_is_a_caveat_and_no_wait(couple):
    job = couple(
        worker(0, forward_compute=[(0, 10), (10, 20)], forward_send=[(10, 12), (20, 22)]),
        worker(1, stage=1, forward_compute=[(12, 22)], forward_recv=[(0, 12)]),
    )
    assert meetings(job) == {("forward-recv 0 r1", "forward-send 0 r0")}
    assert caveats(job)["lone_transfer"] == 1
    assert job.wait_ns[labels(job).index("forward-send 1 r0")] == 0


def test_stage_that_is_not_recorded_leaves_its_neighbours_with_lone_transfers(couple):
    job = couple(
        worker(0, forward_compute=[(0, 10)], forward_send=[(10, 12)]),
        worker(2, stage=2, forward_compute=[(24, 34)], forward_recv=[(0, 24)]),
        pp_size=3,
        dp_size=1,
    )
    assert caveats(job) == {"missing_rank": 1, "lone_transfer": 2}


def test_replicas_may_have_different_numbers_of_microbatches(couple):
    short = worker(
        1,
        dp=1,
        forward_compute=[(0, 10)],
        optimizer_clip_main_grad=[(10, 22)],
        optimizer=[(22, 24)],
    )
    long = worker(
        0,
        forward_compute=[(0, 10), (10, 20)],
        optimizer_clip_main_grad=[(20, 22)],
        optimizer=[(22, 24)],
    )
    job = couple(long, short)
    clip = labels(job).index("optimizer-clip-main-grad 0 r1")
    assert meetings(job) == {("optimizer-clip-main-grad 0 r0", "optimizer-clip-main-grad 0 r1")}
    assert job.wait_ns[clip] == 10_000_000


def test_steps_that_are_not_adjacent_do_not_hold_each_other(couple):
    job = couple(*(tail(rank, dp=rank, step=step) for rank in (0, 1) for step in (3, 90)))
    for a, b in orders(job):
        assert a.endswith("step 3") == b.endswith("step 3")
    for group in meetings(job):
        assert len({label.endswith("step 3") for label in group}) == 1
    assert job.graph.step.tolist() == [3, 90]


# Stage 0 claims its backward ran before its forward, which stage 1 needed for that backward.
def contradicting(**more):
    return (
        worker(
            0,
            backward_compute=[(0, 10)],
            forward_compute=[(10, 20)],
            backward_recv=[(0, 0.01)],
            forward_send=[(20, 22)],
            **more,
        ),
        worker(
            1,
            stage=1,
            forward_recv=[(0, 22)],
            forward_compute=[(22, 30)],
            backward_compute=[(30, 40)],
            backward_send=[(40, 42)],
        ),
    )


def test_order_that_contradicts_itself_is_refused_with_the_ops_named(couple):
    with pytest.raises(StructureError) as caught:
        couple(*contradicting())
    for label in ("forward-compute #0 (rank 0, step 0)", "backward-compute #0 (rank 1, step 0)"):
        assert label in str(caught.value)


def test_rows_of_a_recording_may_stand_in_any_order(tmp_path):
    recording = read(tmp_path, table(*two_stages()))
    mixed = couple_pipeline(replace(recording, op=recording.op.reverse()))
    sound = couple_pipeline(recording)
    assert orders(mixed) == orders(sound)
    assert meetings(mixed) == meetings(sound)


@pytest.mark.parametrize("first", [1, 1000])
def test_numbers_may_begin_anywhere_if_all_workers_begin_alike(tmp_path, first):
    frame = table(*two_stages())
    (tmp_path / "later").mkdir()
    later = frame.with_columns(pl.col("seq_id") + first)
    moved = couple_pipeline(read(tmp_path / "later", later))
    sound = couple_pipeline(read(tmp_path, frame))
    assert moved.instance.height == sound.instance.height > 0
    assert moved.wait_ns.tolist() == sound.wait_ns.tolist()
    assert moved.graph.n_edge == sound.graph.n_edge


def test_transfers_without_any_computation_meet_nobody(couple):
    job = couple(worker(0, forward_send=[(0, 2)]), worker(1, stage=1, forward_recv=[(0, 2)]))
    assert meetings(job) == set()


def test_communicators_are_named_by_what_meets_and_by_its_ranks(couple):
    job = couple(*two_stages(optimizer_clip_main_grad=[(62, 63)]))
    assert job.communicator.select("name", "n_members").rows() == [
        ("optimizer-clip-main-grad 0,1", 2),
        ("point to point 0,1", 2),
    ]


def test_every_communication_is_an_instance_with_its_members(couple):
    job = couple(*two_stages())
    assert job.instance["n_members"].to_list() == [2] * 4
    assert job.instance["matched"].all()
    assert job.membership["instance"].n_unique() == job.instance.height


def test_transfer_begins_when_the_last_of_both_has_arrived(couple):
    job = couple(*two_stages())
    recv = labels(job).index("forward-recv 0 r1")
    assert job.wait_ns[recv] == 10_000_000
    assert job.work_ns[recv] == 2_000_000


def with_gaps(path, n_lost, seed):
    """Spoil some ops of a table: their lengths are not numbers."""
    table = pl.read_parquet(path)
    lost = np.random.default_rng(seed).choice(table.height, n_lost, replace=False)
    is_lost = pl.int_range(pl.len()).is_in(lost)
    spoilt = pl.when(is_lost).then(float("nan")).otherwise("duration").alias("duration")
    table.with_columns(spoilt).write_parquet(path)
    return path


SHAPES = [{"pp": 4, "dp": 1}, {"pp": 2, "dp": 2}, {"pp": 2, "dp": 2, "vpp": 2}]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_lost_ops_leave_the_others_with_their_partners(shape, seed, tmp_path):
    path = write_op_table(make_job(5, steps=1, microbatches=8, **shape), tmp_path)
    partners = meetings(couple_pipeline(read_op_table(path)))
    found = meetings(couple_pipeline(read_op_table(with_gaps(path, 6, seed))))
    pairs = [meeting for meeting in found if "send" in "".join(meeting)]
    assert len(pairs) > len(partners) / 2
    assert set(pairs) <= set(partners)


def test_order_that_contradicts_itself_after_rows_were_left_out_names_them(couple):
    lost = [(50, float("nan")), (60, float("nan"))]
    with pytest.raises(StructureError, match=r"in a cycle.*2 rows of the table were left out"):
        couple(*contradicting(optimizer=lost))


def without(path, *lost):
    """Leave rows out of a table, as if they had never been recorded, and number the rest anew."""
    keys = ["step", "rank", "optype"]
    table = pl.read_parquet(path).filter(~pl.any_horizontal(*lost)).sort(*keys, "seq_id")
    table.with_columns((pl.col("seq_id").cum_count() - 1).over(keys).alias("seq_id")).write_parquet(
        path
    )
    return path


def moments(job):
    """Pairs of a job by rank and recorded moment: numbers may differ."""
    start = dict(zip(labels(job), job.op["start_ns"], strict=True))
    return {tuple(start[label] for label in pair) for pair in meetings(job) if "send" in pair[1]}


# Stage 0 needs nobody for chunk 0, the last stage nobody needs after the last chunk.
@pytest.mark.parametrize("pp", [2, 4])
def test_transfers_that_never_ran_need_not_be_recorded(pp, tmp_path):
    path = write_op_table(make_job(5, steps=1, microbatches=8, pp=pp, dp=1, vpp=2), tmp_path)
    whole = couple_pipeline(read_op_table(path))
    alone = whole.op.filter(pl.col("communicator") < 0)
    names = alone["name"].cast(pl.String)
    idle = [
        (pl.col("rank") == rank) & (pl.col("optype") == name) & (pl.col("seq_id") == number)
        for rank, name, number in zip(alone["rank"], names, alone["sequence"], strict=True)
        if name.endswith(("send", "recv"))
    ]
    assert idle
    found = couple_pipeline(read_op_table(without(path, *idle)))
    assert moments(found) == moments(whole)
    assert {"lone_transfer", "uneven_transfers"}.isdisjoint(caveats(found))


def test_first_receives_that_are_missing_leave_the_others_with_their_partners(tmp_path):
    path = write_op_table(make_job(5, steps=1, microbatches=8, pp=3, dp=1), tmp_path)
    whole = couple_pipeline(read_op_table(path))
    first = pl.col("optype").cast(pl.String).str.ends_with("recv") & (pl.col("seq_id") == 0)
    found = couple_pipeline(read_op_table(without(path, first)))
    assert moments(found) < moments(whole)
    assert caveats(found)["lone_transfer"] == len(moments(whole)) - len(moments(found)) == 4


# |F0 0-10|send|   stage 1: |recv|F0 12-22|
def test_computation_waits_for_the_send_whose_receive_is_not_recorded(couple):
    job = couple(
        worker(0, forward_compute=[(0, 10)], forward_send=[(10, 12)]),
        worker(1, stage=1, forward_compute=[(12, 22)]),
    )
    assert ("forward-send 0 r0", "forward-compute 0 r1") in orders(job)


@pytest.mark.parametrize("receives", [{}, {"forward_recv": [(0, 12)]}])
def test_computation_waits_for_the_one_before_it_where_no_send_is_recorded(couple, receives):
    job = couple(
        worker(0, forward_compute=[(0, 10)]),
        worker(1, stage=1, forward_compute=[(12, 22)], **receives),
    )
    assert ("forward-compute 0 r0", "forward-compute 0 r1") in orders(job)
