"""What a file is, by name and content."""

import subprocess
import sys
from pathlib import Path

from loadpath.audit.recognition import is_record


def told(kind, *names):
    return [is_record(Path(name), kind) for name in names]


def test_schedules_and_anchors_of_otf2_are_told_by_their_names():
    named = ("a.goal", "b.GOAL", "c.goal.gz", "d.txt", "goal")
    assert told("schedule", *named) == [True, True, True, False, False]
    assert told("otf2", "a.otf2", "a.OTF2", "a.def") == [True, True, False]


def test_a_dump_is_told_by_content_whatever_its_name(tmp_path):
    text = b'{"version": "2.9", "pg_config": {}, "entries": [], "pg_status": {}}'
    for name in ("dump_0", "dump.json", "dump.bin"):
        (tmp_path / name).write_bytes(text)
        assert is_record(tmp_path / name, "dump")
        assert not is_record(tmp_path / name, "log")


def test_a_database_is_an_export_unless_it_is_named_a_table(tmp_path):
    for name, is_export in (("a.sqlite", True), ("a", True), ("a.parquet", False)):
        (tmp_path / name).write_bytes(b"SQLite format 3\0")
        assert is_record(tmp_path / name, "nsys") is is_export


def test_what_cannot_be_read_is_of_no_kind(tmp_path):
    for kind in ("compressed", "nsys", "log", "dump", "execution", "stages"):
        assert not is_record(tmp_path / "absent.jsonl", kind)


# what may lie beside traces is small, and loaded with them
def test_other_formats_are_not_loaded_for_an_op_table():
    program = """
import sys
import loadpath.audit.pipeline
from pathlib import Path
from loadpath.audit.recognition import TOLD, is_record
assert not any(is_record(Path("a.parquet"), kind) for kind in TOLD)
print(*[m for m in sys.modules if m.startswith("loadpath.ingest.") and m.count(".") == 2])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["loadpath.ingest.handshake", "loadpath.ingest.power"]
