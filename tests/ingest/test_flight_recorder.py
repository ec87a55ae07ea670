import gzip
import json
from pathlib import Path

import pytest

from loadpath.ingest.flight_recorder import (
    is_flight_recorder,
    rank_of_dump,
    read_flight_recorders,
)


def entry(number, name="gloo:all_reduce", group="0", **said):
    return {
        "collective_seq_id": number,
        "p2p_seq_id": 0,
        "is_p2p": False,
        "process_group": [group, "default_pg"],
        "profiling_name": name,
        "state": "completed",
        "time_created_ns": 1_000_000_000 + number,
        **said,
    }


@pytest.fixture
def dump(tmp_path):
    def write(name, entries, **head):
        path = tmp_path / name
        path.write_text(json.dumps({"entries": entries, "pg_status": {}, **head}))
        return path

    return write


def codes(flights):
    return dict(flights.caveat.select("code", "n").rows())


def test_entries_become_rows_with_the_members_of_their_group(dump):
    config = {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1]"}}
    path = dump("fr_rank3.json", [entry(7)], pg_config=config)
    row = read_flight_recorders([path]).flight.row(0, named=True)
    assert (row["rank"], row["sequence"], row["collective"]) == (3, 7, "all_reduce")
    assert (row["members"], row["created_ns"], row["state"]) == ([0, 1], 1_000_000_007, "completed")


def test_sends_have_numbers_of_their_own(dump):
    sent = entry(4, "nccl:send 0->1", is_p2p=True, p2p_seq_id=9)
    row = read_flight_recorders([dump("fr_0.json", [sent])]).flight.row(0, named=True)
    assert (row["is_p2p"], row["sequence"], row["collective"]) == (True, 9, "send")


def test_a_dump_is_told_from_a_trace_by_content(dump, tmp_path):
    trace = tmp_path / "rank0.json"
    trace.write_text('{"traceEvents": [{"name": "entries", "args": {"pg_status": 1}}]}')
    assert is_flight_recorder(dump("a.json", [entry(1)]))
    assert not is_flight_recorder(trace)
    assert not is_flight_recorder(tmp_path / "absent.json")


def test_a_gzipped_dump_is_read(dump):
    path = dump("fr_rank0.json", [entry(1)])
    packed = path.with_suffix(".json.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert is_flight_recorder(packed)
    assert read_flight_recorders([packed]).flight.height == 1


@pytest.mark.parametrize(
    "bad", [{"profiling_name": 3}, {"process_group": []}, {"time_created_ns": -1}]
)
def test_a_damaged_entry_costs_that_entry_and_is_counted(dump, bad):
    flights = read_flight_recorders([dump("fr_rank0.json", [entry(1), entry(2, **bad), entry(3)])])
    assert flights.flight["sequence"].to_list() == [1, 3]
    assert codes(flights) == {"flight_recorder_damaged": 1}


def test_a_cut_dump_keeps_its_whole_entries_and_says_so(dump):
    path = dump("fr_rank0.json", [entry(i) for i in range(20)])
    text = path.read_text()
    path.write_text(text[: text.index('"collective_seq_id": 12')])
    flights = read_flight_recorders([path])
    assert flights.flight["sequence"].to_list() == list(range(12))
    assert "flight_recorder_damaged" in codes(flights)


def test_dumps_without_rank_or_of_one_rank_twice_are_left_out_and_named(dump):
    paths = [dump(name, [entry(1)]) for name in ("fr_rank0.json", "other_rank0.json", "dump.json")]
    flights = read_flight_recorders(paths)
    assert flights.flight.height == 1
    assert codes(flights) == {"flight_recorder_unused": 1}
    texts = flights.caveat["text"].to_list()
    assert any("dump.json" in text for text in texts)
    assert any("other_rank0.json" in text for text in texts)


def done(path):
    return read_flight_recorders([path]).flight["is_done"].to_list()


def sent(number, state="scheduled", name="nccl:send 0->1", **said):
    return entry(0, name, state=state, is_p2p=True, p2p_seq_id=number, **said)


def test_what_was_posted_in_a_batch_has_ended_when_the_batch_has(dump):
    batch = [sent(4), sent(4, name="nccl:recv 0<-1")]
    ended = dump("fr_0.json", [*batch, sent(4, "completed", "nccl:coalesced")])
    assert done(ended) == [True, True, True]
    open_ = dump("fr_1.json", [*batch, sent(4, "started", "nccl:coalesced")])
    assert done(open_) == [False, False, False]


def test_batches_before_the_last_are_over_where_only_open_ones_are_dumped(dump):
    batches = [sent(n, name=name) for n in (4, 5) for name in ("nccl:send 0->1", "nccl:recv 0<-1")]
    assert done(dump("fr_0.json", batches)) == [True, True, False, False]


def test_a_send_of_its_own_stays_open_whatever_came_after_it(dump):
    assert done(dump("fr_0.json", [sent(4), sent(5), sent(6)])) == [False, False, False]


def test_what_nccl_retires_without_an_end_timed_out(dump):
    timed_out = entry(7, "nccl:all_reduce", state="started", retired=True)
    assert done(dump("fr_0.json", [timed_out])) == [False]
    assert done(dump("fr_1.json", [entry(7, state="scheduled", retired=True)])) == [True]


def test_the_status_of_a_group_with_sends_ends_no_collective(dump):
    status = {"3": {"last_enqueued_collective": "90", "last_completed_collective": "90"}}
    asked = entry(7, "nccl:all_reduce", state="started", pg_id=3)
    told = dump("fr_0.json", [sent(90, "completed", pg_id=3), asked], pg_status=status)
    assert done(told) == [True, False]
    assert done(dump("fr_1.json", [asked], pg_status=status)) == [True]


def test_entries_of_the_first_versions_have_one_number_and_a_group_by_name(dump):
    old = {key: value for key, value in entry(0).items() if not key.endswith("seq_id")}
    path = dump("fr_rank0.json", [old | {"seq_id": 12, "process_group": "0", "pg_id": 0}])
    row = read_flight_recorders([path]).flight.row(0, named=True)
    assert (row["group"], row["description"], row["sequence"]) == ("0", "", 12)


def test_numbers_written_as_text_are_numbers(dump):
    said = {"collective_seq_id": "7", "pg_id": "1", "time_created_ns": "1000000007"}
    row = read_flight_recorders([dump("fr_rank0.json", [entry(1) | said])]).flight
    assert row.select("sequence", "created_ns").row(0) == (7, 1_000_000_007)


def test_a_dump_without_entries_tells_its_groups(tmp_path):
    config = {"0": {"name": "0", "desc": "default_pg", "ranks": [0, 1]}}
    path = tmp_path / "fr_rank0.json"
    path.write_text(json.dumps({"version": "2.10", "pg_config": config, "pg_status": {}}))
    assert is_flight_recorder(path)
    found = read_flight_recorders([path])
    assert found.group["members"].to_list() == [[0, 1]]
    assert not found.flight.height


def test_hundreds_of_healthy_batches_of_a_pipeline_are_no_hang(tmp_path):
    from loadpath.audit import run_audit  # noqa: PLC0415

    for rank in (0, 1):
        peer = 1 - rank
        held = []
        # rings of different length: what one evicted the other still holds
        for number in range(3 + rank, 60):
            names = (f"nccl:send {rank}->{peer}", f"nccl:recv {rank}<-{peer}", "nccl:coalesced")
            states = ("scheduled", "scheduled", "completed")
            held += [sent(number, state, name) for name, state in zip(names, states, strict=True)]
        head = {"pg_config": {"0": {"name": "0", "desc": "default_pg", "ranks": "[0, 1]"}}}
        text = json.dumps({"entries": held, "pg_status": {}} | head)
        (tmp_path / f"fr_rank{rank}.json").write_text(text)
    assert run_audit(tmp_path, brief=False).verdict["kind"] == "not_assessable"


def test_split_off_groups_of_one_name_and_different_members_are_told_apart(dump):
    def split(rank, members):
        config = {"5": {"name": "5", "desc": "mesh_tp", "ranks": str(members)}}
        return dump(f"fr_rank{rank}.json", [entry(1, group="5")], pg_config=config)

    found = read_flight_recorders([split(r, [0, 1] if r < 2 else [2, 3]) for r in range(4)])
    assert found.flight["group"].to_list() == ["5@0", "5@0", "5@2", "5@2"]
    assert found.group["group"].to_list() == ["5@0", "5@0", "5@2", "5@2"]


def test_a_group_whose_members_are_listed_differently_stays_one(dump):
    lists = {0: [0, 1, 2], 1: [0, 1]}
    paths = [
        dump(f"fr_rank{r}.json", [entry(1)], pg_config={"0": {"name": "0", "ranks": str(who)}})
        for r, who in lists.items()
    ]
    assert set(read_flight_recorders(paths).flight["group"]) == {"0"}


def test_a_barrier_that_runs_as_an_all_reduce_is_a_barrier(dump):
    path = dump("fr_rank0.json", [entry(1, "nccl:all_reduce_barrier"), entry(2, "nccl:all_reduce")])
    assert read_flight_recorders([path]).flight["collective"].to_list() == ["barrier", "all_reduce"]


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("nccl_trace_rank_12", 12),
        ("rank_3_1795433597", 3),
        ("node7_rank2.json", 2),
        ("rank1_host4.pkl", 1),
        ("5", 5),
        ("dump-6.json.gz", 6),
        ("flight_recorder.json", -1),
    ],
)
def test_the_rank_is_told_by_the_name_of_the_dump(name, rank):
    assert rank_of_dump(Path(name)) == rank


def test_a_rank_that_the_user_says_comes_before_the_name(dump):
    path = dump("worker_9.json", [entry(1)])
    assert read_flight_recorders([path], {"worker_9.json": 4}).ranks == (4,)
