"""What is written has its name at once, and what killed writers left is removed."""

import errno
import os
import time

import pytest

from loadpath.audit.publication import partial_beside, publish_file, publish_folder


def written(folder, text):
    folder.mkdir()
    (folder / "a.txt").write_text(text)
    return folder


def publish(target, text, *, replaces=True):
    with partial_beside(target) as partial:
        publish_folder(written(partial, text), target, replaces=replaces)


def test_a_folder_takes_the_place_of_another_and_nothing_is_left(tmp_path):
    for text in ("old", "new"):
        publish(tmp_path / "audit", text)
    assert (tmp_path / "audit" / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["audit"]


def test_where_names_cannot_be_changed_at_once_they_are_changed_in_turn(tmp_path, monkeypatch):
    monkeypatch.setattr("loadpath.audit.publication.ctypes.CDLL", lambda _: None)
    for text in ("old", "new"):
        publish(tmp_path / "audit", text)
    assert (tmp_path / "audit" / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["audit"]


def test_a_folder_that_came_meanwhile_is_not_replaced_unasked(tmp_path):
    publish(tmp_path / "audit", "of another")
    with pytest.raises(OSError, match=r".") as refused:
        publish(tmp_path / "audit", "new", replaces=False)
    assert refused.value.errno in {errno.ENOTEMPTY, errno.EEXIST}
    assert (tmp_path / "audit" / "a.txt").read_text() == "of another"
    assert [path.name for path in tmp_path.iterdir()] == ["audit"]


def test_what_killed_writers_left_long_ago_is_removed_and_what_others_write_is_not(tmp_path):
    old = written(tmp_path / ".audit.partial-1-1", "killed")
    written(tmp_path / ".audit.partial-2-2", "under way")
    written(tmp_path / ".audit-2.partial-1-1", "of another folder")
    os.utime(old, (time.time() - 7200,) * 2)
    publish(tmp_path / "audit", "new")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"audit", ".audit.partial-2-2", ".audit-2.partial-1-1"}


def test_a_file_is_replaced_whole(tmp_path):
    for content in (b"old", b"new"):
        publish_file(tmp_path / "job.lpz", content)
    assert (tmp_path / "job.lpz").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["job.lpz"]
