import json

import numpy as np
import pytest
from tests.couple.logged.written import play, write_dumps, write_inspector

import loadpath as lp
from loadpath.errors import InputError
from loadpath.ingest.nccl_inspector import read_inspector


def audit(folder):
    return lp.run_audit(folder, brief=False)


def codes(audit):
    return {caveat["code"] for caveat in audit.document["caveats"]}


@pytest.fixture(scope="module")
def without():
    """What the same job takes with nobody slow."""
    return play().step_s


@pytest.mark.parametrize("how", [{"age": "4.0"}, {"age": "4.3"}, {"age": "plain"}])
def test_a_slow_rank_is_named_from_inspector_logs_alone(how, without, tmp_path):
    job = play(slow=3)
    found = audit(write_inspector(job, tmp_path / "logs", **how))
    assert found.verdict["kind"] == "rank"
    assert found.verdict["ranks"] == [3]
    assert found.verdict["hosts"] == ["node0"]
    assert found.verdict["step_s"] == pytest.approx(job.step_s, rel=0.02)
    gain = found.verdict["step_s"] - found.verdict["step_s_without"]
    assert gain == pytest.approx(job.step_s - without, rel=0.1)


def test_a_slow_rank_is_named_where_ends_were_seen_at_polls(tmp_path):
    job, sound = play(slow=3, world=False), play(world=False)
    found = audit(write_inspector(job, tmp_path / "logs", age="plain", poll_s=0.05))
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [3])
    # each of the three blocks of a step is a cycle
    gain = 3 * (found.verdict["step_s"] - found.verdict["step_s_without"])
    assert gain == pytest.approx(job.step_s - sound.step_s, rel=0.1)


def test_polls_that_leave_the_order_of_groups_open_are_refused(tmp_path):
    found = audit(write_inspector(play(slow=3), tmp_path / "logs", age="plain", poll_s=0.1))
    assert found.verdict["kind"] == "not_assessable"
    assert "ends_unknown" in codes(found)


def test_a_slow_rank_is_named_from_durations_in_dumps(without, tmp_path):
    job = play(slow=6)
    found = audit(write_dumps(job, tmp_path / "dumps"))
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [6])
    gain = found.verdict["step_s"] - found.verdict["step_s_without"]
    assert gain == pytest.approx(job.step_s - without, rel=0.1)
    assert "ends_levelled" in codes(found)


def test_dumps_in_which_the_oldest_entries_were_overwritten_are_compared_where_all_overlap(
    tmp_path,
):
    job = play(slow=6, steps=40)
    found = audit(write_dumps(job, tmp_path / "dumps", keep=101))
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [6])
    assert 20 <= found.document["job"]["steps"] <= 25


@pytest.mark.parametrize("write", [write_inspector, write_dumps])
def test_nobody_is_accused_where_ranks_differ_by_noise(write, tmp_path):
    found = audit(write(play(seed=5), tmp_path / "logs"))
    assert found.verdict["kind"] in {"jitter", "none"}


def test_groups_within_the_job_are_compared_too(tmp_path):
    found = audit(write_inspector(play(slow=5, tensor=4), tmp_path / "logs"))
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [5])
    assert found.document["job"]["steps"] > 15


def test_a_job_without_a_group_of_all_is_one_step(tmp_path):
    found = audit(write_inspector(play(slow=5, tensor=4, world=False), tmp_path / "logs"))
    assert "no_cycles" in codes(found)
    assert "ranks_numbered" in codes(found)


def test_communications_that_run_at_once_are_refused(tmp_path):
    found = audit(write_inspector(play(slow=5, overlap=0.03), tmp_path / "logs"))
    assert found.verdict["kind"] == "not_assessable"
    assert "overlapping_calls" in codes(found)


def test_a_log_written_at_the_end_does_not_tell_when_communications_ended(tmp_path):
    found = audit(write_inspector(play(slow=3), tmp_path / "logs", age="plain", poll_s=1e4))
    assert found.verdict["kind"] == "not_assessable"
    assert "NCCL_INSPECTOR_DUMP_VERBOSE" in found.verdict["summary"]


def test_dumps_without_durations_name_what_is_missing(tmp_path):
    found = audit(write_dumps(play(slow=3), tmp_path / "dumps", timed=False))
    assert found.verdict["kind"] == "not_assessable"
    assert "duration_ms" in found.verdict["summary"]


def test_differences_of_ranks_are_those_of_their_durations_whatever_the_clocks_say(tmp_path):
    job = play(slow=3)
    near = audit(write_inspector(job, tmp_path / "near", skew_s=0.0))
    far = audit(write_inspector(job, tmp_path / "far", skew_s=3.0))
    for name in ("step_s", "step_s_without"):
        assert far.verdict[name] == pytest.approx(near.verdict[name], rel=1e-3)


def without_log(folder, rank):
    (folder / f"node{rank // 4}-pid{1000 + rank}.log").unlink()
    return folder


def test_a_rank_that_logged_nothing_is_said_and_the_others_are_compared(without, tmp_path):
    job = play(slow=3)
    found = audit(without_log(write_inspector(job, tmp_path / "logs"), 7))
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [3])
    assert "missing_rank" in codes(found)
    gain = found.verdict["step_s"] - found.verdict["step_s_without"]
    assert gain == pytest.approx(job.step_s - without, rel=0.1)


def test_nobody_is_cleared_where_a_rank_logged_nothing(tmp_path):
    found = audit(without_log(write_inspector(play(slow=3), tmp_path / "logs"), 3))
    assert found.verdict["kind"] == "not_assessable"
    assert "rank 3; record all ranks" in found.verdict["summary"]


def numbered_by_kind(folder):
    """Make three kinds of the communications of all ranks, each numbered by itself as NCCL does."""
    for path in folder.iterdir():
        count, lines = dict[str, int](), []
        for text in path.read_text().splitlines():
            line = json.loads(text)
            told = line["coll_perf"]
            told["coll"] = ("AllGather", "ReduceScatter", "AllReduce")[told["coll_sn"] % 3]
            told["coll_sn"] = count.get(told["coll"], 0)
            count[told["coll"]] = told["coll_sn"] + 1
            lines.append(json.dumps(line))
        path.write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize("age", ["4.0", "plain"])
def test_collectives_that_are_numbered_by_kind_are_all_read(age, tmp_path):
    job = play(slow=3, world=False)
    plain = audit(write_inspector(job, tmp_path / "plain", age=age))
    found = audit(numbered_by_kind(write_inspector(job, tmp_path / "logs", age=age)))
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [3])
    # a cycle now holds one of each kind
    assert found.verdict["step_s"] == pytest.approx(3 * plain.verdict["step_s"], rel=0.02)
    assert "unlogged_calls" not in codes(found)


@pytest.mark.parametrize("slow", [None, 3])
def test_collectives_that_nobody_logged_are_counted_and_clear_nobody(slow, tmp_path):
    folder = write_inspector(play(slow=slow, world=False, steps=40), tmp_path / "logs")
    for path in folder.iterdir():
        path.write_text("\n".join(path.read_text().splitlines()[::5]))
    found = audit(folder)
    told = {c["code"]: c["count"] for c in found.document["caveats"]}
    assert told["unlogged_calls"] == 4 * 23
    assert found.verdict["kind"] == ("not_assessable" if slow is None else "rank")
    assert found.verdict["ranks"] == ([] if slow is None else [3])


def test_records_that_were_laid_out_with_indents_are_read(tmp_path):
    folder = write_inspector(play(slow=3), tmp_path / "logs")
    for path in folder.iterdir():
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        path.write_text("\n".join(json.dumps(line, indent=2) for line in lines))
    found = audit(folder)
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [3])
    assert "inspector_damaged" not in codes(found)


@pytest.mark.parametrize("age", ["4.0", "4.3"])
@pytest.mark.parametrize("laid_out", [{}, {"indent": 2}, {"separators": (",", ":")}])
def test_records_that_were_made_one_array_are_read(laid_out, age, tmp_path):
    folder = write_inspector(play(slow=3), tmp_path / "logs", age=age)
    same = audit(folder)
    for path in list(folder.iterdir()):
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        path.with_suffix(".json").write_text(json.dumps(lines, **laid_out))
        path.unlink()
    found = audit(folder)
    assert found.verdict["ranks"] == [3]
    assert found.verdict["step_s"] == same.verdict["step_s"]
    assert found.document["job"]["instances"] == same.document["job"]["instances"]
    assert codes(found) == codes(same)


def test_an_array_that_ends_early_keeps_its_whole_records(tmp_path):
    folder = write_inspector(play(slow=3), tmp_path / "logs")
    path = folder / "node0-pid1001.log"
    lines = path.read_text().splitlines()
    path.write_text("[\n" + ",\n".join([*lines[:41], lines[41][:50]]))
    found = read_inspector(sorted(folder.iterdir()))
    assert "inspector_damaged" in found.caveat["code"].to_list()
    assert found.flight.filter(found.flight["rank"] == 1).height == 41


def test_a_damaged_line_costs_that_line(tmp_path):
    folder = write_inspector(play(slow=3), tmp_path / "logs")
    path = folder / "node0-pid1001.log"
    lines = path.read_text().splitlines()
    lines[40] = lines[40][:50]
    path.write_text("\n".join(lines))
    found = audit(folder)
    assert found.verdict["ranks"] == [3]
    assert {"inspector_damaged", "partly_logged"} <= codes(found)


def test_several_ranks_of_one_process_are_told_apart(tmp_path):
    folder = write_inspector(play(slow=3), tmp_path / "logs", skew_s=0.0)
    text = "".join(path.read_text() for path in sorted(folder.iterdir()))
    for rank in range(8):
        text = text.replace(f'"pid": {1000 + rank}', '"pid": 77')
        text = text.replace(f"node{rank // 4}", "node")
    (tmp_path / "one.log").write_text(text)
    found = audit(tmp_path / "one.log")
    # of the two groups of all ranks one is kept: work and wait before the other are one
    assert "ranks_shared" in codes(found)
    assert found.verdict["ranks"] == [3]


def test_waits_of_a_collective_are_differences_of_its_durations(tmp_path):
    job = play(n=4, slow=2, steps=12)
    found = audit(write_inspector(job, tmp_path / "logs"))
    lengths = np.array([[call.end - call.arrive for call in calls] for calls in job.calls])
    waits = (lengths - lengths.min(axis=0)).sum() / 12
    shown = found.document["job"]["wait_s"] * 4 / found.document["job"]["steps"]
    assert shown == pytest.approx(waits, rel=0.05)


def test_a_file_without_communications_is_refused(tmp_path):
    line = {"header": {"id": "0x1", "rank": 0, "n_ranks": 2}, "metadata": {
        "inspector_output_format_version": "v4.3", "hostname": "a", "pid": 1}, "dump_stats": {}}  # fmt: skip
    (tmp_path / "a.log").write_text(json.dumps(line))
    with pytest.raises(InputError, match="no communication is logged"):
        audit(tmp_path)
