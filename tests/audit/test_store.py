"""The audit folder: complete or not there, never overwritten unasked, refused when damaged."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from isal import isal_zlib

from loadpath.audit import open_audit, run_audit
from loadpath.audit.folder import check_target, document_bytes, write_folder, write_table
from loadpath.audit.graph_file import read_graph
from loadpath.audit.store import write_audit
from loadpath.couple import CouplingGraph
from loadpath.errors import InputError, UsageError


def content(audit, page=""):
    return audit.document, audit.tables, audit.job, page


@pytest.fixture
def copied(written, tmp_path):
    return shutil.copytree(written, tmp_path / "audit")


def test_opened_audit_is_the_written_one(audited, written):
    opened = open_audit(written)
    assert opened.verdict == dict(audited.verdict)
    assert opened.table("attribution").equals(audited.table("attribution"))
    np.testing.assert_array_equal(opened.job.work_ns, audited.job.work_ns)
    assert opened.job.graph.step.tolist() == audited.job.graph.step.tolist()


def test_what_if_of_an_opened_audit_needs_no_second_read(audited, written):
    change = "rank=2:ideal"
    assert open_audit(written).what_if(change) == audited.what_if(change)


def test_same_audit_written_twice_is_the_same_bytes(table, written, tmp_path):
    run_audit(table, out=tmp_path / "again", brief=False)
    for path in sorted(written.iterdir()):
        if path.suffix != ".npz":
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk")
def test_a_disk_that_fills_while_a_table_is_written_is_one_error(tmp_path):
    def write(_):
        write_table(Path("/dev/full"), pl.DataFrame({"a": range(100_000)}))

    with pytest.raises(UsageError, match=r"audit cannot be written.*No space left"):
        write_folder(tmp_path / "audit", write, force=False)
    assert list(tmp_path.iterdir()) == []


def test_document_is_sorted_json_that_ends_in_a_newline():
    assert document_bytes({"b": 1, "a": "é"}) == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()


def test_document_with_nan_is_refused():
    with pytest.raises(ValueError, match=r"not JSON compliant"):
        document_bytes({"a": float("nan")})


def test_folder_that_is_there_is_not_overwritten(audited, copied):
    before = (copied / "audit.json").read_bytes()
    with pytest.raises(UsageError, match=r"is there. Give another --out, or --force"):
        write_audit(copied, content(audited), force=False)
    assert (copied / "audit.json").read_bytes() == before


def test_force_replaces_an_audit_and_leaves_nothing_of_it(audited, copied):
    (copied / "old.parquet").write_bytes(b"")
    write_audit(copied, content(audited, "<html>"), force=True)
    assert not (copied / "old.parquet").exists()
    assert (copied / "briefing.html").read_text(encoding="utf-8") == "<html>"
    assert [path.name for path in copied.parent.iterdir()] == ["audit"]


def test_force_does_not_replace_what_is_no_audit(audited, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match=r"is no audit folder"):
        write_audit(tmp_path, content(audited), force=True)


def test_file_in_the_way_is_not_replaced(audited, tmp_path):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"is no audit folder"):
        write_audit(tmp_path / "out", content(audited), force=True)


def test_empty_folder_is_filled_and_parents_are_made(audited, tmp_path):
    (tmp_path / "empty").mkdir()
    write_audit(tmp_path / "empty", content(audited), force=False)
    write_audit(tmp_path / "a" / "b", content(audited), force=False)
    assert (tmp_path / "empty" / "audit.json").exists()
    assert (tmp_path / "a" / "b" / "audit.json").exists()


def test_failing_write_leaves_no_folder(audited, tmp_path):
    broken = (audited.document | {"x": float("nan")}, audited.tables, audited.job, "")
    with pytest.raises(ValueError, match=r"not JSON compliant"):
        write_audit(tmp_path / "out", broken, force=False)
    assert list(tmp_path.iterdir()) == []


def test_failing_replacement_keeps_the_old_audit(audited, copied):
    before = (copied / "audit.json").read_bytes()
    broken = (audited.document | {"x": float("nan")}, audited.tables, audited.job, "")
    with pytest.raises(ValueError, match=r"not JSON compliant"):
        write_audit(copied, broken, force=True)
    assert (copied / "audit.json").read_bytes() == before
    assert [path.name for path in copied.parent.iterdir()] == ["audit"]


def test_folder_without_an_audit_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no audit.json in it. Make one: loadpath audit"):
        open_audit(tmp_path)


def test_other_schema_is_named(copied):
    document = json.loads((copied / "audit.json").read_text(encoding="utf-8"))
    (copied / "audit.json").write_bytes(document_bytes(document | {"schema": "loadpath.audit/9"}))
    with pytest.raises(InputError, match=r"schema 'loadpath.audit/9', not 'loadpath.audit/1'"):
        open_audit(copied)


@pytest.mark.parametrize("name", ["coupled_op.parquet", "graph.npz", "audit.json"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_truncated_audit_is_refused(copied, name, part):
    path = copied / name
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match=r"damaged audit") as refused:
        open_audit(copied)
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("name", ["coupled_op.parquet", "graph.npz", "membership.parquet"])
def test_audit_without_one_of_its_files_is_refused(copied, name):
    (copied / name).unlink()
    with pytest.raises(InputError, match=r"damaged audit"):
        open_audit(copied)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"schema": "loadpath.audit/1"}'])
def test_document_of_another_shape_is_refused(copied, text):
    (copied / "audit.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"damaged audit|schema"):
        open_audit(copied)


def test_graph_without_an_array_is_refused(copied):
    np.savez(copied / "graph.npz", role=np.zeros(1))
    with pytest.raises(InputError, match=r"damaged audit"):
        open_audit(copied)


def plain_arrays(folder):
    """Arrays of a stored graph, as folders held them before they were deflated."""
    graph = read_graph(folder / "graph.npz")
    return {name: getattr(graph, name) for name in CouplingGraph.__dataclass_fields__}


def spoil_graph(folder, name, change):
    graph = plain_arrays(folder)
    graph[name] = change(graph[name])
    np.savez(folder / "graph.npz", **graph)


def test_older_folder_whose_graph_is_plain_arrays_is_opened(audited, copied):
    n_byte = (copied / "graph.npz").stat().st_size
    np.savez(copied / "graph.npz", **plain_arrays(copied))
    assert (copied / "graph.npz").stat().st_size > 3 * n_byte
    opened = open_audit(copied).job.graph
    for name, array in plain_arrays(copied).items():
        np.testing.assert_array_equal(getattr(opened, name), array)
        assert array.dtype == getattr(audited.job.graph, name).dtype


def test_graph_is_stored_as_it_is(audited, copied):
    for name, array in plain_arrays(copied).items():
        np.testing.assert_array_equal(getattr(audited.job.graph, name), array)
        assert array.flags.writeable


@pytest.mark.parametrize("name", [*CouplingGraph.__dataclass_fields__, "fixed_node"])
@pytest.mark.parametrize(
    "change",
    [lambda a: a[:-1], lambda a: a[:2], lambda a: a[::-1], lambda a: a.astype(np.float64)],
    ids=["cut", "begun", "reversed", "floats"],
)
def test_graph_with_a_damaged_stream_is_refused(copied, name, change):
    with np.load(copied / "graph.npz") as held:
        streams = dict(held)
    streams[name] = change(streams[name])
    np.savez(copied / "graph.npz", **streams)
    with pytest.raises(InputError, match=r"damaged audit"):
        open_audit(copied)


@pytest.mark.parametrize("name", ["first", "op", "end_node", "fixed_ns", "fixed_node", "step"])
def test_graph_whose_streams_hold_another_number_is_refused(copied, name):
    with np.load(copied / "graph.npz") as held:
        streams = dict(held)
    much = np.full(1 + 8 * (name == "step"), -77, np.int64)
    streams[name] = np.frombuffer(isal_zlib.compress(much), np.uint8)
    np.savez(copied / "graph.npz", **streams)
    with pytest.raises(InputError, match=r"damaged audit"):
        open_audit(copied)


@pytest.mark.parametrize("name", list(CouplingGraph.__dataclass_fields__))
@pytest.mark.parametrize(
    "change",
    [lambda a: a[:-1], lambda a: a.astype(np.float64), lambda a: a.reshape(-1, 1)],
    ids=["shorter", "floats", "two-dimensional"],
)
def test_graph_whose_arrays_do_not_fit_is_refused(copied, name, change):
    spoil_graph(copied, name, change)
    with pytest.raises(InputError, match=r"damaged audit \(.*graph"):
        open_audit(copied)


@pytest.mark.parametrize(
    "name", sorted(set(CouplingGraph.__dataclass_fields__) - {"fixed_ns", "step"})
)
@pytest.mark.parametrize("value", [-1_000_000, 119_999_999])
def test_graph_that_points_outside_is_refused(copied, name, value):
    def last_replaced(array):
        array[-1:] = np.array([value]).astype(array.dtype)
        return array if array.size else np.array([value], array.dtype)

    spoil_graph(copied, name, last_replaced)
    with pytest.raises(InputError, match=r"damaged audit \(.*graph"):
        open_audit(copied)


def test_graph_whose_steps_are_out_of_order_is_refused(copied):
    spoil_graph(copied, "step", lambda step: step[::-1])
    with pytest.raises(InputError, match=r"graph array step is out of range or order"):
        open_audit(copied)


def test_graph_in_which_an_op_waits_for_a_later_one_is_refused(copied):
    spoil_graph(copied, "first", lambda first: np.arange(1, first.size + 1, dtype=np.int32))
    with pytest.raises(InputError, match=r"graph array first is out of range or order"):
        open_audit(copied)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coupled_op", lambda frame: frame.head(10)),
        ("coupled_op", lambda frame: frame.drop("work_ns")),
        ("coupled_op", lambda frame: frame.with_columns(rank=pl.lit(77, pl.Int32))),
        ("coupled_op", lambda frame: frame.with_columns(stage=pl.lit("a"))),
        ("coupled_op", lambda frame: frame.with_columns(wait_ns=pl.lit(None, pl.Int64))),
        ("membership", lambda frame: frame.with_columns(pl.col("op") + 1_000_000)),
        ("membership", lambda frame: frame.with_columns(pl.col("instance") - 1)),
        ("instance", lambda frame: frame.head(1)),
        ("rank", lambda frame: frame.head(1)),
        ("sink", lambda frame: frame.drop("wait_s")),
    ],
    ids=["few ops", "no work", "other rank", "stage text", "no waits", "far op", "far instance",
         "few instances", "few ranks", "no sink time"],
)  # fmt: skip
def test_table_that_does_not_fit_is_refused(copied, name, change):
    path = copied / f"{name}.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(InputError, match=r"damaged audit") as refused:
        open_audit(copied)
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("key", ["verdict", "caveats", "record"])
def test_document_that_lacks_a_part_is_refused(copied, key):
    document = json.loads((copied / "audit.json").read_text(encoding="utf-8"))
    del document[key]
    (copied / "audit.json").write_bytes(document_bytes(document))
    with pytest.raises(InputError, match=f"audit.json lacks {key}"):
        open_audit(copied)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
@pytest.mark.parametrize("name", ["graph.npz", "rank.parquet"])
def test_pipe_in_an_audit_is_refused(copied, name):
    (copied / name).unlink()
    os.mkfifo(copied / name)
    with pytest.raises(InputError, match=r"damaged audit \(is a pipe or a device"):
        open_audit(copied)


@pytest.mark.parametrize("name", ["file/inside", "x" * 256, "a\0b", "loop"])
def test_place_that_cannot_be_written_is_a_wrong_call(tmp_path, name):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"Give another --out"):
        check_target(tmp_path / name, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is of Linux")
def test_file_system_that_takes_no_folder_is_a_wrong_call():
    with pytest.raises(UsageError, match=r"cannot be written"):
        check_target(Path("/proc/audit"), force=False)


def test_target_is_checked_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"cannot be written"):
        run_audit(tmp_path / "none.parquet", out=tmp_path / "file" / "audit")


def test_name_as_long_as_a_file_system_takes_is_written(audited, tmp_path):
    write_audit(tmp_path / ("x" * 255), content(audited), force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["x" * 255]


def test_link_stands_for_the_folder_it_points_at(audited, tmp_path):
    link, folder = tmp_path / "latest", tmp_path / "audit"
    link.symlink_to(folder)
    write_audit(link, content(audited), force=False)
    write_audit(link, content(audited, "<html>"), force=True)
    assert link.is_symlink()
    assert (folder / "briefing.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit", "latest"]
