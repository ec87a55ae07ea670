import os
from pathlib import Path

import numpy as np
import pytest
from tests.ingest.otf2.written import (
    COLLECTIVE_END,
    IRECV,
    ISEND,
    RECV,
    SEND,
    UNDEFINED,
    Trace,
    stencil,
)

from loadpath.audit import run_audit
from loadpath.couple.mpi import couple_mpi
from loadpath.errors import InputError
from loadpath.ingest.otf2 import read_otf2
from loadpath.replay import op_end_ns, replay


def coupled(trace, folder):
    return couple_mpi(read_otf2(trace.write(folder)))


def codes(job):
    return dict(job.caveat.select("code", "n").iter_rows())


def of(job, name, rank):
    found = job.op.with_row_index("id").filter(rank=rank).filter(name=name)
    return found["id"].to_list()


def test_what_regions_do_themselves_is_one_chain_of_ops(tmp_path):
    trace = Trace(1)
    trace.enter(0, 0, "main")
    trace.call(0, 10, 30, "solve")
    trace.call(0, 35, 40, "MPI_Comm_size")
    trace.leave(0, 50, "main")
    job = coupled(trace, tmp_path)
    assert job.op.select("name", "start_ns", "duration_ns", "kind").rows() == [
        ("main", 0, 10, "compute"),
        ("solve", 10, 20, "compute"),
        ("main", 30, 5, "compute"),
        ("MPI_Comm_size", 35, 5, "host"),
        ("main", 40, 10, "compute"),
    ]


def test_a_receive_waits_for_its_send(tmp_path):
    # rank 0 computes until 100, then sends; rank 1 waits from 10 on
    trace = Trace(2)
    trace.call(0, 0, 100, "solve")
    trace.call(0, 100, 110, "MPI_Send", SEND, 1, 0, 7, 64)
    trace.call(1, 0, 10, "solve")
    trace.enter(1, 10, "MPI_Recv")
    trace.event(1, 129, RECV, 0, 0, 7, 64)
    trace.leave(1, 130, "MPI_Recv")
    job = coupled(trace, tmp_path)
    (receive,) = of(job, "MPI_Recv", 1)
    assert (job.wait_ns[receive], job.work_ns[receive]) == (90, 30)


def test_messages_of_one_tag_meet_in_their_order(tmp_path):
    trace = Trace(2)
    for k in range(3):
        trace.call(0, 100 * k, 100 * k + 10, "MPI_Send", SEND, 1, 0, 7, 64)
        trace.call(1, 100 * k, 100 * k + 20, "MPI_Recv", RECV, 0, 0, 7, 64)
    trace.call(0, 300, 310, "MPI_Send", SEND, 1, 0, 8, 64)
    job = coupled(trace, tmp_path)
    met = job.membership.group_by("instance").agg("op").sort("instance")["op"].to_list()
    pairs = zip(of(job, "MPI_Send", 0)[:3], of(job, "MPI_Recv", 1), strict=True)
    assert sorted(map(sorted, met)) == sorted(map(list, pairs))
    assert codes(job)["lone_transfer"] == 1


def test_collectives_of_a_communicator_join_its_ranks(tmp_path):
    trace = Trace(4)
    for rank in (1, 3):
        trace.enter(rank, 10 * rank, "MPI_Barrier")
        trace.event(rank, 39, COLLECTIVE_END, b"\0", 1, UNDEFINED, 0, 0)
        trace.leave(rank, 40, "MPI_Barrier")
    job = coupled(trace, tmp_path)
    assert job.instance.select("collective", "n_members").rows() == [("barrier", 2)]
    (first,) = of(job, "MPI_Barrier", 1)
    assert (job.wait_ns[first], job.work_ns[first]) == (20, 10)


def test_sends_that_end_before_their_receive_are_buffered(tmp_path):
    job = coupled(stencil(n_turn=2), tmp_path)
    sends = job.membership.filter(role="sender")
    assert not sends["waits"].any()
    assert codes(job)["buffered_sends"] == sends.height


def test_replay_of_a_trace_gives_its_times(tmp_path):
    job = coupled(stencil(n_turn=2, slow=2), tmp_path)
    end = op_end_ns(job.graph, replay(job.graph, job.work_ns))
    assert np.array_equal(end, (job.op["start_ns"] + job.op["duration_ns"]).to_numpy())


def test_rank_that_computes_longer_is_found(tmp_path):
    slow = run_audit(stencil(n_turn=40, slow=2).write(tmp_path / "slow"))
    even = run_audit(stencil(n_turn=40).write(tmp_path / "even"))
    assert (slow.verdict["kind"], slow.verdict["ranks"]) == ("rank", [2])
    assert slow.verdict["hosts"] == ["host1"]
    gained = slow.verdict["step_s"] - even.verdict["step_s"]
    assert slow.verdict["gain_s"] == pytest.approx(gained, rel=0.1)
    assert even.verdict["kind"] != "rank"


def test_messages_received_before_they_were_sent_refuse_conclusions(tmp_path):
    trace = stencil()
    for tick in (0, 1 << 20):
        trace.local[1].record(6, trace.local[1].whole(1000 + tick), 50_000, bytes(8))
    done = run_audit(trace.write(tmp_path))
    assert done.verdict["kind"] == "not_assessable"
    assert "received before they were sent" in done.verdict["summary"]


def test_cut_files_refuse_conclusions(tmp_path):
    anchor = stencil().write(tmp_path)
    events = tmp_path / "traces" / "2.evt"
    events.write_bytes(events.read_bytes()[:-300])
    assert run_audit(tmp_path).verdict["kind"] == "not_assessable"
    assert anchor.exists()


def moved(folder, moves):
    content = {target: (folder / f"{source}.evt").read_bytes() for source, target in moves}
    for target, events in content.items():
        (folder / f"{target}.evt").write_bytes(events)


@pytest.mark.parametrize("moves", [((1, 2), (2, 1)), ((1, 2),)], ids=["exchanged", "copied"])
def test_files_of_other_ranks_refuse_conclusions(moves, tmp_path):
    anchor = stencil().write(tmp_path)
    moved(tmp_path / "traces", moves)
    done = run_audit(anchor)
    assert done.verdict["kind"] == "not_assessable"
    assert "wrong_ranks" in {row["code"] for row in done.document["caveats"]}


def test_a_copied_file_is_named_where_communications_meet_all_the_same(tmp_path):
    trace = Trace(3)
    for k in range(8):
        for rank in range(3):
            trace.call(rank, 1000 * k, 1000 * k + 900 + rank, "solve")
            ended = (bytes([11]), 0, UNDEFINED, 8, 8)
            trace.call(
                rank, 1000 * k + 900 + rank, 1000 * k + 950, "MPI_Allreduce", COLLECTIVE_END, *ended
            )
    anchor = trace.write(tmp_path)
    moved(tmp_path / "traces", [(0, 1)])
    done = run_audit(anchor)
    assert done.verdict["kind"] == "not_assessable"
    assert "0.evt, 1.evt" in done.verdict["summary"]


def test_a_trace_beside_other_records_is_refused(tmp_path):
    stencil().write(tmp_path)
    (anchor,) = tmp_path.glob("*.otf2")
    (tmp_path / "other.otf2").write_bytes(anchor.read_bytes())
    with pytest.raises(InputError, match="an OTF2 trace and other records"):
        run_audit(tmp_path)


def test_several_receives_in_one_call_are_members_of_their_own(tmp_path):
    trace = Trace(3)
    for rank in (1, 2):
        trace.call(rank, 0, 50 * rank, "solve")
        trace.call(rank, 50 * rank, 50 * rank + 5, "MPI_Isend", ISEND, 0, 0, 7, 64, 1)
    trace.enter(0, 0, "MPI_Waitall")
    trace.event(0, 60, IRECV, 1, 0, 7, 64, 1)
    trace.event(0, 110, IRECV, 2, 0, 7, 64, 2)
    trace.leave(0, 112, "MPI_Waitall")
    job = coupled(trace, tmp_path)
    parts = of(job, "MPI_Waitall", 0)
    assert [int(job.wait_ns[part]) for part in parts] == [50, 40, 0]


def test_recorded_ping_pong_is_coupled_and_judged():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    done = run_audit(Path(root) / "data" / "nsys-otf2" / "ping-pong-otf2")
    assert done.document["job"]["instances_matched"] == 16
    assert done.document["replay"]["error_ratio_max"] < 0.01
    assert done.verdict["kind"] in {"jitter", "none"}
