"""One useless file among good ones: the rest is audited, and the file is said."""

import shutil
from pathlib import Path

import pytest
from tests.end_to_end.commands import call

import loadpath as lp
from loadpath.decode import read_blocks
from loadpath.errors import InputError
from loadpath.testing import Cause, make_job, write_kineto

EXAMPLES = Path(__file__).parents[2] / "examples"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"


def told(audit):
    return {c["code"]: c["text"] for c in audit.document["caveats"]}


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    job = make_job(3, recorder="kineto", pp=1, dp=4, steps=8, microbatches=2,
                   cause=Cause("rank", 0.2, ranks=(2,)))  # fmt: skip
    return Path(write_kineto(job, tmp_path_factory.mktemp("traces")))


@pytest.fixture
def three(traces, tmp_path):
    """The traces of three of four ranks."""
    for path in sorted(traces.glob("rank*"))[:3]:
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["rank3.json.gz", "rank3.json", "rank3.json.zst"])
def test_a_useless_file_that_is_named_as_the_others_is_a_lost_record(name, three):
    (three / name).write_bytes(POINTER)
    found = lp.run_audit(three, brief=False)
    assert found.verdict["ranks"] == [2]
    assert f"{name} is a pointer of Git LFS" in told(found)["lost_records"]
    assert "git lfs pull" in told(found)["lost_records"]


def test_nobody_is_cleared_where_a_record_is_lost(tmp_path):
    job = make_job(3, recorder="kineto", pp=1, dp=4, steps=8, microbatches=2)
    folder = Path(write_kineto(job, tmp_path / "job"))
    assert lp.run_audit(folder, brief=False).verdict["kind"] == "none"
    (folder / "rank4.json.gz").write_bytes(b"")
    found = lp.run_audit(folder, brief=False).verdict
    assert found["kind"] == "not_assessable"
    assert "rank4.json.gz is empty" in found["summary"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("all.zip", b"PK\x03\x04"), ("table.csv", b""), ("a.goal", POINTER), ("b.otf2", POINTER)],
)
def test_a_useless_file_of_another_kind_is_named_and_the_traces_are_audited(name, content, three):
    (three / name).write_bytes(content)
    found = lp.run_audit(three, brief=False)
    assert found.verdict["ranks"] == [2]
    assert name in told(found)["unusable_files"]
    assert "lost_records" not in told(found)


def test_what_is_not_named_as_a_record_is_nobodys_concern(three):
    (three / "index.html").write_bytes(b"<html>")
    (three / "NOTES").write_bytes(b"")
    (three / "hosts.csv").write_bytes(b"")
    assert not {"lost_records", "unusable_files"} & set(told(lp.run_audit(three, brief=False)))


def test_nothing_but_useless_files_is_refused_in_one_line(tmp_path):
    for i, content in enumerate((b"", POINTER, b"<html>", b"\0" * 9, b"")):
        (tmp_path / f"rank{i}.json").write_bytes(content)
    answer = call("audit", tmp_path, "--json", folder=tmp_path)
    assert (answer.code, answer.out, answer.err.count("\n")) == (4, "", 1)
    assert "rank0.json is empty; rank1.json is a pointer of Git LFS" in answer.err
    assert "1 more files are no records either" in answer.err


def test_a_byte_order_mark_changes_nothing(traces, tmp_path):
    found = []
    for mark in (b"", b"\xef\xbb\xbf"):
        folder = tmp_path / str(len(mark))
        folder.mkdir()
        for path in traces.glob("rank*"):
            (folder / path.name.removesuffix(".gz")).write_bytes(mark + unpacked(path))
        found.append(lp.load_recording(folder))
    assert found[0].op.equals(found[1].op)
    assert found[0].caveat.equals(found[1].caveat)


def unpacked(path):
    return b"".join(read_blocks(path))


def test_a_dump_whose_first_bytes_are_lost_is_named_as_one(tmp_path):
    for path in (EXAMPLES / "hang-order").glob("_dump_*"):
        shutil.copy(path, tmp_path)
    lost = tmp_path / "_dump_0"
    lost.write_bytes(b"\0\1\2\3" + lost.read_bytes()[4:])
    with pytest.raises(InputError, match=r"_dump_0: is named as a dump .* Copy it again"):
        lp.run_audit(lost, brief=False)
    found = lp.run_audit(tmp_path, brief=False)
    assert "_dump_0 is named as a dump" in told(found)["lost_records"]


def test_names_of_dumps_are_those_of_the_dumps_beside_them_too(tmp_path):
    for path in (EXAMPLES / "hang-order").glob("_dump_*"):
        shutil.copy(path, tmp_path / f"ring{path.name[-1]}.pkl")
    (tmp_path / "ring0.pkl").write_bytes(b"hello")
    assert "ring0.pkl" in told(lp.run_audit(tmp_path, brief=False))["lost_records"]


def test_a_trace_that_is_named_as_a_dump_stays_a_trace(traces, tmp_path):
    for i, path in enumerate(sorted(traces.glob("rank*"))):
        (tmp_path / f"nccl_trace_rank_{i}.json").write_bytes(unpacked(path))
    assert lp.run_audit(tmp_path, brief=False).verdict["ranks"] == [2]
