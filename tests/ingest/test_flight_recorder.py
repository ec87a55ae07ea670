import gzip
import json

import pytest

from loadpath.ingest.flight_recorder import is_flight_recorder, read_flight_recorders


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
