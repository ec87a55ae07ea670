"""A finished audit is kept, and told again only while nothing that it depends on has changed."""

import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from loadpath.audit import folder as audit_folder
from loadpath.audit import kept, open_audit, pipeline, run_audit
from loadpath.errors import InputError, UsageError
from loadpath.testing import make_job, write_kineto


@pytest.fixture(autouse=True)
def shelf(tmp_path, monkeypatch):
    """A shelf of its own, on which small audits are kept too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "LEAST_KEPT_OPS", 0)
    return tmp_path / "cache" / "loadpath"


@pytest.fixture
def record(table, tmp_path):
    """The table in a folder of its own, where it may be changed."""
    folder = tmp_path / "record"
    folder.mkdir()
    return shutil.copy(table, folder)


@pytest.fixture
def told():
    return []


def is_told_again(record, told, **options):
    """Audit, and tell whether it came from the shelf."""
    told.clear()
    run_audit(record, progress=told.append, brief=False, **options)
    return told == ["the same was audited before"]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_second_audit_is_the_first_byte_for_byte_without_reading_the_records(
    record, tmp_path, monkeypatch
):
    first = run_audit(record, out=tmp_path / "first")
    monkeypatch.setattr(pipeline, "couple_sources", None)
    second = run_audit(record, out=tmp_path / "second")
    assert files(tmp_path / "first") == files(tmp_path / "second")
    assert {"audit.json", "briefing.html", "graph.npz"} < set(files(tmp_path / "second"))
    assert second.document == first.document
    assert set(second.tables) == set(first.tables)
    for name, table in first.tables.items():
        assert_frame_equal(second.table(name), table, check_dtypes=False, categorical_as_str=True)


def test_kept_document_is_that_of_an_audit_that_keeps_nothing(record):
    run_audit(record, brief=False)
    again, anew = run_audit(record, brief=False), run_audit(record, brief=False, cache=False)
    assert again.document == anew.document
    assert set(again.tables) == set(anew.tables)


def test_kept_audit_answers_further_questions_from_the_records(record, told):
    anew = run_audit(record, brief=False).what_if("rank=2:ideal")
    again = run_audit(record, brief=False, progress=told.append)
    assert told == ["the same was audited before"]
    assert again.what_if("rank=2:ideal") == anew
    assert again.coupling().seconds.sum() > 0


def test_other_settings_are_another_question(record, told):
    assert not is_told_again(record, told)
    assert not is_told_again(record, told, baseline="best")
    assert not is_told_again(record, told, as_of="2026-01-01")
    assert is_told_again(record, told, baseline="best")


def test_changed_record_is_audited_anew(record, told):
    is_told_again(record, told)
    pl.read_parquet(record).with_columns(pl.col("duration") * 2).write_parquet(record)
    assert not is_told_again(record, told)


def test_file_that_the_settings_name_is_part_of_the_question(record, told, tmp_path):
    hosts = tmp_path / "places.csv"
    hosts.write_text("rank,host\n" + "".join(f"{rank},a\n" for rank in range(8)))
    is_told_again(record, told, hosts=hosts)
    assert is_told_again(record, told, hosts=hosts)
    hosts.write_text("rank,host\n" + "".join(f"{rank},b{rank}\n" for rank in range(8)))
    assert not is_told_again(record, told, hosts=hosts)


def test_layout_that_appears_beside_a_table_is_another_question(record, told):
    is_told_again(record, told)
    layout = Path(record).parent / "meta-a.yaml"
    layout.write_text("dp_size: 4\npp_size: 2\ntp_size: 1\n")
    assert not is_told_again(record, told)


def test_damaged_answer_is_made_again(record, told, shelf):
    is_told_again(record, told)
    (entry,) = shelf.glob("audit-*")
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)
    assert not is_told_again(record, told)
    assert is_told_again(record, told)


def test_record_that_changes_under_the_audit_is_not_kept(record, told, shelf, monkeypatch):
    read = pipeline.couple_sources

    def change_first(*given):
        pl.read_parquet(record).with_columns(pl.col("duration") * 2).write_parquet(record)
        return read(*given)

    monkeypatch.setattr(pipeline, "couple_sources", change_first)
    is_told_again(record, told)
    assert not list(shelf.glob("audit-*"))


def test_small_audit_is_not_kept_and_nothing_without_cache(record, told, shelf, monkeypatch):
    is_told_again(record, told, cache=False)
    monkeypatch.setattr(kept, "LEAST_KEPT_OPS", 10**6)
    is_told_again(record, told)
    assert not shelf.exists()


def test_missing_record_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        run_audit(tmp_path / "none.parquet")


def test_files_that_come_or_go_under_the_audit_leave_nothing_kept(
    record, told, shelf, monkeypatch, tmp_path
):
    read = pipeline.couple_sources
    hosts = tmp_path / "record" / "hosts.csv"
    hosts.write_text("rank,host\n0,a\n")

    def lose_one(*given):
        hosts.unlink()
        return read(*given)

    monkeypatch.setattr(pipeline, "couple_sources", lose_one)
    is_told_again(record, told)
    assert not list(shelf.glob("audit-*"))
    hosts.write_text("rank,host\n0,a\n")
    monkeypatch.setattr(pipeline, "couple_sources", read)
    assert not is_told_again(record, told)
    assert is_told_again(record, told)


def test_link_and_copy_of_a_file_are_different_questions(record, tmp_path, told):
    hosts, other = tmp_path / "record" / "hosts.csv", tmp_path / "other"
    hosts.write_text("rank,host\n0,a\n")
    other.mkdir()
    (other / "hosts.csv").symlink_to(hosts)
    linked = run_audit(Path(record).parent, other, brief=False)
    (other / "hosts.csv").unlink()
    shutil.copy(hosts, other)
    copied = run_audit(Path(record).parent, other, brief=False, progress=told.append)
    assert told != ["the same was audited before"]
    codes = [set(audit.table("caveat")["code"]) for audit in (linked, copied)]
    assert "hosts_beside" in codes[0]
    assert "hosts_unread" in codes[1]


def test_answer_is_what_this_audit_wrote_though_another_replaces_its_folder(
    record, told, tmp_path, monkeypatch
):
    write = audit_folder.write_folder

    def write_and_lose(folder, *given, **named):
        write(folder, *given, **named)
        (folder / "audit.json").write_text("{}")

    monkeypatch.setattr("loadpath.audit.store.write_folder", write_and_lose)
    first = run_audit(record, out=tmp_path / "out")
    again = run_audit(record, out=tmp_path / "again", progress=told.append)
    assert told == ["the same was audited before"]
    assert again.document == first.document


def test_job_of_a_kept_audit_is_refused_once_the_records_have_changed(record):
    run_audit(record, brief=False)
    again = run_audit(record, brief=False)
    pl.read_parquet(record).with_columns(pl.col("duration") * 2).write_parquet(record)
    with pytest.raises(InputError, match=r"changed since it was audited.*Audit it again"):
        again.what_if("rank=2:ideal")


def test_names_that_are_no_text_are_audited_and_written_with_what_is_legible(tmp_path):
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/job\xff"))
    job = make_job(1, recorder="kineto", pp=1, dp=2, steps=2, microbatches=1, layers=1)
    shutil.move(write_kineto(job, tmp_path / "job"), folder)
    one, _ = sorted(folder.iterdir())
    one.rename(one.with_name(os.fsdecode(b"\xff-") + one.name))
    audit = run_audit(folder, out=tmp_path / "out")
    assert f"\ufffd-{one.name}" in [held["path_name"] for held in audit.document["inputs"]]
    assert "job\ufffd" in open_audit(tmp_path / "out").document["command"]
    with pytest.raises(UsageError, match=r"its name is no UTF-8.*another --out"):
        run_audit(folder, out=folder / "out")


def test_table_that_polars_cannot_be_told_is_refused_by_name(record, tmp_path):
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/job\xff"))
    folder.mkdir()
    with pytest.raises(InputError, match="path that is no UTF-8"):
        run_audit(shutil.move(record, folder))


def test_file_whose_name_is_no_text_is_no_reason_to_stop(record, told):
    Path(os.fsdecode(bytes(Path(record).parent) + b"/\xff.txt")).write_text("x")
    assert not is_told_again(record, told)
    assert is_told_again(record, told)


def test_large_file_that_no_reader_opens_is_known_by_its_time_of_change(record, told):
    weights = Path(record).with_name("weights.bin")
    with weights.open("wb") as stream:
        stream.truncate(kept.MOST_OTHER_BYTES + 1)
    folder = weights.parent
    is_told_again(folder, told)
    assert is_told_again(folder, told)
    os.utime(weights, ns=(1, 1))
    assert not is_told_again(folder, told)
