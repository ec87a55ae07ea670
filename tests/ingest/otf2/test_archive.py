import os
import re
from pathlib import Path

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

from loadpath.errors import InputError
from loadpath.ingest.otf2 import read_otf2


def spans(recording, rank=0):
    columns = ("name", "start_ns", "duration_ns", "parent")
    return recording.op.filter(rank=rank).select(*columns).rows()


def codes(recording):
    return dict(recording.caveat.select("code", "n").iter_rows())


def test_regions_become_ops_inside_each_other(tmp_path):
    trace = Trace(1)
    trace.enter(0, 0, "main")
    trace.call(0, 10, 30, "solve")
    trace.leave(0, 50, "main")
    assert spans(read_otf2(trace.write(tmp_path))) == [("main", 0, 50, -1), ("solve", 10, 20, 0)]


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_send_says_with_whom_and_how_much(order, tmp_path):
    trace = Trace(4, order=order)
    trace.call(1, 0, 20, "MPI_Send", SEND, 1, 1, 7, 70000)
    trace.call(3, 0, 40, "MPI_Recv", RECV, 0, 1, 7, 70000)
    op = read_otf2(trace.write(tmp_path)).op
    said = op.select("rank", "collective", "communicator", "peer", "tag", "bytes").rows()
    # ranks of the communicator of odd ranks are those of the job
    assert said == [(1, "send", 1, 3, 7, 70000), (3, "recv", 1, 1, 7, 70000)]


def test_collectives_are_numbered_within_their_communicator(tmp_path):
    trace = Trace(4)
    for rank in range(4):
        for k in range(2):
            ended = (bytes([11]), 0, UNDEFINED, 8, 8)
            trace.call(rank, 100 * k, 100 * k + 50, "MPI_Allreduce", COLLECTIVE_END, *ended)
    for rank in (1, 3):
        trace.call(rank, 300, 350, "MPI_Bcast", COLLECTIVE_END, b"\x01", 1, 1, 16, 16)
    op = read_otf2(trace.write(tmp_path)).op.filter(rank=3)
    assert op.select("collective", "communicator", "sequence", "peer", "bytes").rows() == [
        ("all_reduce", 0, 0, -1, 8),
        ("all_reduce", 0, 1, -1, 8),
        ("broadcast", 1, 0, 3, 16),
    ]


def test_communications_that_end_in_one_call_share_its_time(tmp_path):
    trace = Trace(4)
    trace.enter(0, 100, "MPI_Waitall")
    trace.event(0, 120, IRECV, 2, 0, 5, 64, 1)
    trace.event(0, 170, IRECV, 1, 0, 6, 32, 2)
    trace.leave(0, 180, "MPI_Waitall")
    op = read_otf2(trace.write(tmp_path)).op
    assert op.select("start_ns", "duration_ns", "peer", "parent").rows() == [
        (100, 80, -1, -1),
        (100, 20, 2, 0),
        (120, 50, 1, 0),
    ]


def test_ticks_become_whole_ns_however_long_the_trace(tmp_path):
    trace = Trace(1, ticks=2_095_197_216)
    trace.call(0, 3 * 2_095_197_216, 86_400 * 2_095_197_216 + 1, "solve")
    assert spans(read_otf2(trace.write(tmp_path))) == [("solve", 3 * 10**9, 86_397 * 10**9, -1)]


def test_clock_corrections_are_linear_between_and_beyond_those_recorded(tmp_path):
    trace = Trace(1)
    for tick, offset in ((1000, 100), (2000, 200)):
        parts = (trace.local[0].whole(1000 + tick), offset, bytes(8))
        trace.local[0].record(6, *parts)
    for tick in (0, 1500, 3000):
        trace.call(0, tick, tick, "solve")
    assert [start for _, start, _, _ in spans(read_otf2(trace.write(tmp_path)))] == [0, 1650, 3300]


def test_numbers_of_a_thread_are_mapped_to_those_of_the_trace(tmp_path):
    trace = Trace(1)
    trace.name("first"), trace.name("second")
    trace.local[0].record(5, b"\x03", 2, b"\0", 1, 0)
    trace.call(0, 0, 5, "first")
    trace.call(0, 5, 9, "second")
    assert [name for name, *_ in spans(read_otf2(trace.write(tmp_path)))] == ["second", "first"]


def test_events_go_on_in_the_next_chunk(tmp_path):
    trace = Trace(1, chunk=4096)
    for k in range(2000):
        trace.call(0, 10 * k, 10 * k + 5, f"solve {k % 3}")
    recording = read_otf2(trace.write(tmp_path))
    assert recording.op.height == 2000
    assert recording.caveat.is_empty()


def test_unknown_records_and_attributes_are_skipped(tmp_path):
    trace = Trace(1)
    trace.enter(0, 0, "solve")
    trace.threads[0].record(6, 1, 2, b"\x04", 9)
    trace.threads[0].record(77, bytes(100))
    trace.threads[0].add(b"\x58\xff" + trace.threads[0].whole(300) + bytes(300))
    trace.leave(0, 5, "solve")
    assert spans(read_otf2(trace.write(tmp_path))) == [("solve", 0, 5, -1)]


def test_hosts_and_threads_are_named(tmp_path):
    recording = read_otf2(stencil().write(tmp_path))
    assert recording.rank["host"].to_list() == ["host0", "host0", "host1", "host1"]
    assert recording.lane.rows()[0] == (0, 0, "host", "thread")


def test_a_region_that_is_never_left_ends_with_its_thread(tmp_path):
    trace = Trace(1)
    trace.enter(0, 0, "main")
    trace.call(0, 10, 30, "solve")
    recording = read_otf2(trace.write(tmp_path))
    assert spans(recording)[0] == ("main", 0, 30, -1)
    assert codes(recording) == {"unended_region": 1}


def test_a_leave_without_enter_is_counted(tmp_path):
    trace = Trace(1)
    trace.leave(0, 5, "solve")
    trace.call(0, 10, 30, "solve")
    assert codes(read_otf2(trace.write(tmp_path))) == {"lone_leave": 1}


def test_scans_and_communications_outside_regions_are_counted(tmp_path):
    trace = Trace(2)
    trace.call(0, 0, 9, "MPI_Scan", COLLECTIVE_END, bytes([14]), 0, UNDEFINED, 8, 8)
    trace.event(1, 5, ISEND, 0, 0, 1, 8, 4)
    assert codes(read_otf2(trace.write(tmp_path))) == {"unknown_collective": 2}


def test_a_clock_that_steps_back_is_said_and_nests_nothing_wrongly(tmp_path):
    trace = Trace(1)
    trace.call(0, 0, 100, "solve")
    trace.call(0, 40, 60, "late")
    trace.call(0, 120, 130, "solve")
    recording = read_otf2(trace.write(tmp_path))
    assert codes(recording) == {"backward_clock": 2}
    assert spans(recording)[1] == ("late", 100, 0, -1)


def test_a_thread_that_lacks_its_own_definitions_is_said(tmp_path):
    anchor = stencil().write(tmp_path)
    (tmp_path / "traces" / "1.def").unlink()
    assert codes(read_otf2(anchor)) == {"unmapped_thread": 1}
    for rank in (0, 2, 3):
        (tmp_path / "traces" / f"{rank}.def").unlink()
    assert codes(read_otf2(anchor)) == {}


def test_what_a_cut_file_holds_is_kept_and_said(tmp_path):
    anchor = stencil().write(tmp_path)
    events = tmp_path / "traces" / "2.evt"
    events.write_bytes(events.read_bytes()[:-300])
    recording = read_otf2(anchor)
    assert codes(recording)["cut_off"] == 1
    assert recording.op.filter(rank=2).height > 10


def test_a_thread_without_its_file_is_named(tmp_path):
    anchor = stencil().write(tmp_path)
    (tmp_path / "traces" / "1.evt").unlink()
    recording = read_otf2(anchor)
    assert recording.rank["rank"].to_list() == [0, 2, 3]
    assert codes(recording)["missing_rank"] == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("traces.otf2", b"nothing", "traces.otf2: is no anchor file of an OTF2 trace"),
        (
            "traces.def",
            b"\x03B" + bytes(16) + b"\x0a\x40",
            "traces.def: is cut or damaged at byte 20",
        ),
        (
            "traces.def",
            b"\x03B" + bytes(16) + b"\x02",
            "traces.def: its clock has 0 ticks a second",
        ),
        ("traces/0.def", b"\x03B" + bytes(16) + b"\x05\x01\x00", "traces/0.def: is cut or damaged"),
    ],
)
def test_a_damaged_file_is_one_error(name, content, said, tmp_path):
    anchor = stencil().write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(said)):
        read_otf2(anchor)


def test_a_container_is_refused_with_what_to_do(tmp_path):
    anchor = stencil().write(tmp_path)
    content = bytearray(anchor.read_bytes())
    content[28] = 2
    anchor.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"container \(SION\), which is not read"):
        read_otf2(anchor)


def test_times_beyond_any_job_are_refused(tmp_path):
    trace = Trace(1, ticks=1)
    trace.call(0, 0, 1 << 40, "solve")
    with pytest.raises(InputError, match=r"0\.evt: has times beyond any job"):
        read_otf2(trace.write(tmp_path))


# figures of the reference reader, otf2 3.2
def test_recorded_ping_pong_holds_what_the_reference_reader_finds():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    recording = read_otf2(Path(root) / "data" / "nsys-otf2" / "ping-pong-otf2" / "traces.otf2")
    assert recording.op.height == 42
    sends = recording.op.filter(rank=0, collective="send").sort("start_ns")
    assert sends["bytes"].to_list() == [1 << k for k in range(14, 22)]
    assert (sends["tag"].unique().to_list(), sends["peer"].unique().to_list()) == ([10], [1])
    # enter of MPI_Send at 7397467382750926, of MPI_Recv on the other rank at 7397467382769925
    ticks_per_s, first = 2095197216, 7397466976977800
    assert sends["start_ns"][0] == (7397467382750926 - first) * 10**9 // ticks_per_s
    taken = recording.op.filter(rank=1, collective="recv").sort("start_ns")
    assert taken["start_ns"][0] == (7397467382769925 - first) * 10**9 // ticks_per_s
    assert recording.rank["host"].to_list() == ["quartz10", "quartz10"]
    assert recording.caveat.is_empty()
