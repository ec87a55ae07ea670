import json
import os
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loadpath.audit.sources import load_recording
from loadpath.couple.graph import EdgeKind
from loadpath.couple.trace import couple_trace
from loadpath.errors import InputError
from loadpath.ingest.kineto import read_kineto
from loadpath.replay import replay, step_time_ns


def op_of(job, name, rank=0):
    found = job.op.with_row_index("i").filter(
        (pl.col("name").cast(pl.String) == name) & (pl.col("rank") == rank)
    )
    return found["i"].to_list()


def step_times(job, work_ns):
    return step_time_ns(job.graph, replay(job.graph, work_ns))


def measured(job):
    # where steps overlap, the time that they share counts to the earlier one
    end = pl.col("start_ns") + pl.col("duration_ns")
    spans = job.op.group_by("step").agg(pl.col("start_ns").min(), end=end.max()).sort("step")
    before = pl.col("end").cum_max().shift(1).fill_null(pl.col("start_ns").first())
    begin = pl.max_horizontal("start_ns", before)
    return spans.select(pl.col("end") - begin).to_series().to_numpy()


def recorded(folder):
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    return couple_trace(read_kineto([Path(root) / "data" / folder]))


def ideal(job, chosen):
    """Chosen ops take what their peers' median is."""
    frame = job.op.select("step", pl.col("op_class").cast(pl.String), "position")
    frame = frame.with_columns(work=pl.Series(job.work_ns))
    median = frame.select(pl.col("work").median().over("step", "op_class", "position"))
    return np.where(chosen, median["work"].to_numpy(), job.work_ns).astype(np.int64)


def two_ranks(make, extra):
    """Rank 1 computes `extra` us longer; both all-reduce, then wait for the device.

    host    mm[10..60, launch 20]  allreduce[70..120, launch 90]  synchronise[130..end + 5]
    stream 7     gemm[35..235 (+extra)]
    stream 9                            all_reduce[gemm's end .. 455 + extra on both]
    """
    last = 255 + extra
    return [
        [
            make["span"]("ProfilerStep#1", "user_annotation", 0, last + 10),
            make["span"]("aten::mm", "cpu_op", 10, 50),
            make["launch"](20, 10, 1),
            make["kernel"]("gemm", 35, 200 + late, 7, 1),
            *make["all_reduce"](70, 2, 1),
            make["kernel"]("ncclDevKernel_AllReduce_Sum_f16", 235 + late, last - 235 - late, 9, 2),
            make["launch"](130, last + 5 - 130, 3, "cudaDeviceSynchronize"),
        ]
        for late in (0, extra)
    ]


def test_late_rank_delays_the_other_at_the_collective(couple, make):
    job = couple(*two_ranks(make, 300))
    early, late = (op_of(job, "ncclDevKernel_AllReduce_Sum_f16", rank)[0] for rank in (0, 1))
    assert job.wait_ns[[early, late]].tolist() == [300_000, 0]
    assert job.work_ns[[early, late]].tolist() == [20_000, 20_000]
    assert job.instance.select("collective", "n_members", "matched", "bytes").rows() == [
        ("all_reduce", 2, True, 32)
    ]


def test_host_waits_in_the_synchronising_call_and_works_for_the_rest(couple, make):
    job = couple(*two_ranks(make, 300))
    (call,) = op_of(job, "cudaDeviceSynchronize")
    assert job.work_ns[call] == 5_000


def test_replay_of_measured_work_gives_the_measured_step(couple, make):
    job = couple(*two_ranks(make, 300))
    np.testing.assert_allclose(step_times(job, job.work_ns), measured(job), rtol=1e-9)


def test_removing_the_excess_of_the_late_rank_shortens_the_step_by_it(couple, make):
    job = couple(*two_ranks(make, 300))
    work = job.work_ns.copy()
    work[op_of(job, "gemm", 1)] -= 300_000
    gain = step_times(job, job.work_ns) - step_times(job, work)
    assert gain.tolist() == [300_000]


def test_host_thread_is_a_chain_without_hole(couple, make):
    job = couple(*two_ranks(make, 0))
    host = job.op.filter((pl.col("rank") == 0) & (pl.col("lane") == 0))
    end = host["start_ns"] + host["duration_ns"]
    assert end[:-1].to_list() == host["start_ns"][1:].to_list()
    assert not job.lag_ns[op_of(job, "aten::mm")].any()


def test_peers_share_class_and_position(couple, make):
    job = couple(*two_ranks(make, 300))
    key = ["op_class", "position"]
    one, other = (job.op.filter(pl.col("rank") == rank).select(key).sort(key) for rank in (0, 1))
    assert one.equals(other)


def test_time_between_calls_has_a_class_of_its_own(couple, make):
    job = couple(*two_ranks(make, 0))
    between = job.op.filter(
        pl.col("op_class").cast(pl.String).str.starts_with("host between calls")
    )
    assert set(between["name"].cast(pl.String)) == {"ProfilerStep", "nccl:all_reduce"}


def said_of(job, code):
    return job.caveat.filter(pl.col("code") == code)["text"].item()


def reduces_at(make, *starts):
    """All-reduces of one rank, each 50 us long."""
    events = []
    for i, start in enumerate(starts):
        events += make["all_reduce"](start - 90, 2 + i, 1 + i)
        events.append(make["kernel"]("ncclDevKernel_AllReduce_Sum_f16", start, 50, 9, 2 + i))
    return events


def test_clock_that_is_off_is_set_and_that_is_said(couple, make):
    starts = [1_000 * k for k in range(1, 9)]
    job = couple(reduces_at(make, *starts), reduces_at(make, *(t + 5_000 for t in starts)))
    codes = job.caveat["code"].to_list()
    assert said_of(job, "clocks_set") == (
        "clocks of ranks set by up to 5.00 ms and 0 ppm, from the ends of communications; "
        "they still disagree by up to 0 s, within which arrivals are ties"
    )
    assert "not_causal" not in codes
    assert job.instance["matched"].all()
    assert sorted(job.rank["clock_offset_ns"].to_list()) in ([0, 5_000_000], [-5_000_000, 0])
    assert job.rank["clock_residual_ns"].to_list() == [0, 0]


def test_handshakes_beside_the_traces_tell_clocks_that_no_communication_tells(tmp_path, make):
    # a broadcast leaves open who waits; rank 1 is 4 ms ahead, a message takes 60 us each way
    def broadcasts(ahead):
        said = {"Collective name": "broadcast", "Process Group Name": "5", "Group size": 2,
                "Process Group Ranks": "[0, 1]", "In msg nelems": 8, "dtype": "Float"}  # fmt: skip
        return [
            event
            for k in range(1, 9)
            for event in (
                make["span"]("record_param_comms", "cpu_op", 1_000 * k + ahead, 40, Seq=k, **said),
                make["launch"](1_000 * k + ahead + 5, 10, k, "cudaLaunchKernelExC"),
                make["kernel"]("ncclDevKernel_Broadcast", 1_000 * k + ahead + 50, 20, 9, k),
            )
        ]

    for rank in (0, 1):
        text = json.dumps({"traceEvents": broadcasts(4_000 * rank)})
        (tmp_path / f"rank{rank}.json").write_text(text)
    lines = [
        f"0,1,{t},{t + 4_060_000},{t + 4_070_000},{t + 130_000}"
        for t in range(1_000_000, 9_000_000, 500_000)
    ]
    head = "rank,peer,sent_ns,arrived_ns,returned_ns,received_ns"
    (tmp_path / "clock_handshake.csv").write_text("\n".join([head, *lines]))
    job = couple_trace(load_recording(tmp_path))
    offset = job.rank["clock_offset_ns"].to_list()
    assert offset[1] - offset[0] == pytest.approx(4_000_000, abs=10_000)
    assert "clock_handshake.csv" in [name for name, *_ in job.inputs]
    assert re.fullmatch(
        r"clocks of ranks set by up to 4\.\d+ ms and 0 ppm, from handshakes; "
        r"they still disagree by up to 60\.0 us, within which arrivals are ties",
        said_of(job, "clocks_set"),
    )


def with_handshakes(folder, make, ahead_us):
    """Steady all-reduces on one clock, and handshakes by which rank 1 is ahead."""
    starts = [1_000 * k for k in range(1, 9)]
    for rank in (0, 1):
        text = json.dumps({"traceEvents": reduces_at(make, *starts)})
        (folder / f"rank{rank}.json").write_text(text)
    ahead = ahead_us * 1000
    lines = [
        f"0,1,{t},{t + ahead + 60_000},{t + ahead + 70_000},{t + 130_000}"
        for t in range(1_000_000, 9_000_000, 4_000_000)
    ]
    head = "rank,peer,sent_ns,arrived_ns,returned_ns,received_ns"
    (folder / "clock_handshake.csv").write_text("\n".join([head, *lines, "0,7,1,2,3,4"]))
    job = couple_trace(load_recording(folder))
    return dict(job.caveat.select("code", "n").iter_rows())


def test_handshakes_of_ranks_without_a_trace_are_counted(tmp_path, make):
    codes = with_handshakes(tmp_path, make, 0)
    assert codes["handshakes_unused"] == 1
    assert "handshakes_overruled" not in codes


def test_handshakes_on_another_clock_are_counted(tmp_path, make):
    assert with_handshakes(tmp_path, make, 3 * 86_400 * 10**6)["handshakes_unused"] == 3


def test_handshakes_that_communications_overrule_are_counted(tmp_path, make):
    codes = with_handshakes(tmp_path, make, 4_000)
    assert codes["handshakes_overruled"] == 2
    assert codes["handshakes_unused"] == 1


def test_clock_that_jumps_is_refused_and_named(couple, make):
    starts = [10_000 * k for k in range(1, 21)]
    jumped = [t + 3_000 * (t > 100_000) for t in starts]
    steady = reduces_at(make, *starts)
    job = couple(steady, steady, reduces_at(make, *jumped))
    bad = job.caveat.filter(pl.col("code") == "bad_clocks")
    assert "that of rank 2 jumps by 3 ms" in bad["text"][0]
    assert not job.instance["matched"].any()


def test_clock_that_runs_backwards_is_refused_and_named(couple, make):
    starts = [10_000 * k for k in range(1, 21)]
    back = [t - 3_600_000_000 * (t > 100_000) for t in starts]
    job = couple(reduces_at(make, *starts), reduces_at(make, *back))
    bad = job.caveat.filter(pl.col("code") == "bad_clocks")
    assert "that of rank 1 runs backwards" in bad["text"][0]
    assert (job.op["duration_ns"] >= 0).all()


def test_impossible_collectives_refuse_conclusions_across_ranks(couple, make):
    # no clock makes both meet: 10 ms apart on one rank, 20 ms on the other
    one, other = reduces_at(make, 10_000, 20_000), reduces_at(make, 5_000, 25_000)
    job = couple(one, other)
    assert "not_causal" in job.caveat["code"].to_list()
    assert not job.instance["matched"].any()
    assert not (job.graph.first_kind == EdgeKind.MEMBER).any()


def test_groups_of_other_ranks_are_other_instances(couple, make):
    def rank(group, ranks):
        return [
            make["span"]("ProfilerStep#1", "user_annotation", 0, 300),
            *make["all_reduce"](70, 2, 1, group, ranks),
            make["kernel"]("ncclDevKernel_AllReduce_Sum_f16", 120, 20, 9, 2),
        ]

    job = couple(*[rank("1", "[0, 1]")] * 2, *[rank("1", "[2, 3]")] * 2)
    assert job.instance["n_members"].to_list() == [2, 2]


def test_traces_without_a_common_step_are_refused(couple, make):
    with pytest.raises(InputError, match="no step was recorded on every rank"):
        couple(
            [make["span"]("ProfilerStep#1", "user_annotation", 0, 9)],
            [make["span"]("ProfilerStep#2", "user_annotation", 0, 9)],
        )


def test_second_thread_works_while_the_first_waits_for_it(couple, make):
    # main  forward[0..100] ........ backward() ........ optimiser[500..600]
    # other                 [120.. mm_backward ..480]
    job = couple(
        [
            make["span"]("ProfilerStep#1", "user_annotation", 0, 600),
            make["span"]("forward", "cpu_op", 0, 100),
            make["span"]("optimiser", "cpu_op", 500, 100),
            make["span"]("mm_backward", "cpu_op", 120, 360, tid=2),
        ]
    )
    work = job.work_ns.copy()
    work[op_of(job, "mm_backward")] -= 200_000
    assert step_times(job, job.work_ns).tolist() == [600_000]
    assert step_times(job, work).tolist() == [400_000]


def test_second_thread_whose_first_call_begins_with_its_inner_one_waits_for_the_first(couple, make):
    # main  forward[0..100] ................ optimiser[500..600]
    # other                 [120.. node[120.. mm_backward ..470] ..480]
    job = couple(
        [
            make["span"]("ProfilerStep#1", "user_annotation", 0, 600),
            make["span"]("forward", "cpu_op", 0, 100),
            make["span"]("optimiser", "cpu_op", 500, 100),
            make["span"]("node", "cpu_op", 120, 360, tid=2),
            make["span"]("mm_backward", "cpu_op", 120, 350, tid=2),
        ]
    )
    work = job.work_ns.copy()
    work[op_of(job, "forward")] -= 70_000
    assert step_times(job, job.work_ns).tolist() == [600_000]
    assert step_times(job, work).tolist() == [530_000]


def test_idle_time_of_a_second_thread_is_nobodys_work(couple, make):
    job = couple(
        [
            make["span"]("ProfilerStep#1", "user_annotation", 0, 1000),
            *[make["span"]("step", "cpu_op", 100 * i, 80) for i in range(10)],
            make["span"]("reader", "cpu_op", 10, 5, tid=2),
            make["span"]("reader", "cpu_op", 910, 5, tid=2),
        ]
    )
    other = job.op.filter(pl.col("lane") == 1)
    assert other["name"].cast(pl.String).to_list() == ["reader", "reader"]


def gloo_rank(make, delay, wait):
    """Rank that starts `delay` us late; its main thread waits in `backward` for its worker.

    main    forward[0..100 + delay] c10d::allreduce_ (20) ... backward until wait ... copy[.. + 30]
    worker                             all_reduce[launch + 50 .. wait - 10]
    """
    call = 110 + delay
    return [
        make["span"]("ProfilerStep#1", "user_annotation", 0, wait + 60),
        make["span"]("forward", "cpu_op", 0, 100 + delay),
        make["span"]("backward", "user_annotation", 105 + delay, wait - 100 - delay + 40),
        make["span"]("c10d::allreduce_", "cpu_op", call, 20),
        make["span"]("gloo:all_reduce", "user_annotation", call + 50, wait - 10 - call - 50, tid=9),
        make["span"]("copy", "cpu_op", wait, 30),
    ]


def test_main_thread_waits_for_its_communication_thread_where_the_program_shows_it(couple, make):
    job = couple(gloo_rank(make, 0, 1000), gloo_rank(make, 500, 1000))
    early, late = (op_of(job, "gloo:all_reduce", rank)[0] for rank in (0, 1))
    assert job.wait_ns[[early, late]].tolist() == [500_000, 0]
    work = job.work_ns.copy()
    work[op_of(job, "forward", 1)] -= 500_000
    assert (step_times(job, job.work_ns) - step_times(job, work)).tolist() == [500_000]


def test_all_collectives_of_a_tensor_parallel_step_are_matched():
    job = recorded("kineto-megatron-tp8")
    assert job.instance.height == job.instance["matched"].sum() == 84
    talks = (job.op["mechanism"] == "communication").to_numpy()
    transfer = pl.DataFrame({"rank": job.op["rank"], "ns": job.work_ns}).filter(pl.Series(talks))
    of_rank = transfer.group_by("rank").agg(pl.col("ns").sum() / 1e6)["ns"]
    assert of_rank.is_between(45, 55).all()
    replayed = step_times(job, job.work_ns)
    np.testing.assert_allclose(replayed, measured(job), rtol=0.03)


def test_hosts_of_all_ranks_together_cost_a_tensor_parallel_step_most_of_its_time():
    job = recorded("kineto-megatron-tp8")
    host = job.op["mechanism"].is_in(["host", "input"]).to_numpy()
    last_arrivers = job.op["rank"].is_in([0, 6]).to_numpy()
    device = (job.op["mechanism"] == "device").to_numpy()
    base = step_times(job, job.work_ns).mean()
    share = [
        1 - step_times(job, ideal(job, chosen)).mean() / base
        for chosen in (host, host & last_arrivers, device)
    ]
    assert 0.58 < share[0] < 0.68
    assert 0.02 < share[1] < 0.04
    assert abs(share[2]) < 0.001


def test_removing_the_slow_loader_predicts_the_healthy_twin():
    slow, healthy = recorded("gloo-ddp-4"), recorded("gloo-ddp-4-healthy")
    for job in (slow, healthy):
        np.testing.assert_allclose(step_times(job, job.work_ns), measured(job), rtol=0.03)
    late = (slow.op["mechanism"] == "input").to_numpy() & (slow.op["rank"] == 2).to_numpy()
    gain = step_times(slow, slow.work_ns).mean() - step_times(slow, ideal(slow, late)).mean()
    difference = measured(slow).mean() - measured(healthy).mean()
    assert abs(gain / difference - 1) < 0.1


def test_sampled_traces_are_refused_across_ranks():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "data/kineto-breadth/hta"
    job = couple_trace(read_kineto([folder / f"sampled_rank-{rank}.json.gz" for rank in (0, 1)]))
    assert "not_causal" in job.caveat["code"].to_list()
