import errno
import os
import time

import pytest

from loadpath.decode import keep, kept, shelf, source_digest


def taken(folder, key):
    content = kept(folder, key)
    return None if content is None else bytes(content)


def test_what_is_kept_is_found_again(tmp_path):
    keep(tmp_path / "shelf", "a", [b"one", b"", b"two"])
    assert taken(tmp_path / "shelf", "a") == b"onetwo"


def test_nothing_is_found_under_another_key_or_on_no_shelf(tmp_path):
    keep(tmp_path, "a", [b"one"])
    assert kept(tmp_path, "b") is None
    assert kept(tmp_path / "none", "a") is None


@pytest.mark.parametrize("place", [0, 9, 12, 40, -1])
def test_one_damaged_byte_makes_it_unfound(tmp_path, place):
    keep(tmp_path, "a", [bytes(range(100))])
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert kept(tmp_path, "a") is None


@pytest.mark.parametrize("size", [0, 3, 12, 50])
def test_cut_file_is_not_found(tmp_path, size):
    keep(tmp_path, "a", [bytes(range(100))])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:size])
    assert kept(tmp_path, "a") is None


def test_shelf_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    keep(tmp_path / "file" / "shelf", "a", [b"one"])
    assert kept(tmp_path / "file" / "shelf", "a") is None


def test_shelf_that_is_only_read_is_used(tmp_path, monkeypatch):
    keep(tmp_path, "a", [b"one"])

    def refuse(path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("loadpath.decode.shelf.os.utime", refuse)
    assert taken(tmp_path, "a") == b"one"


def test_what_a_killed_process_left_long_ago_is_removed(tmp_path):
    for name, age_s in ((".new-old", 7200), (".new-young", 60)):
        (tmp_path / name).write_bytes(b"part")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    keep(tmp_path, "a", [b"one"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new-young", "a.kept"]


def test_what_was_used_longest_ago_is_thrown_away_first(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "MAX_SHELF_BYTES", 250)
    for age, key in enumerate("ab"):
        keep(tmp_path, key, [bytes(90)])
        os.utime(tmp_path / f"{key}.kept", (age, age))
    taken(tmp_path, "a")
    keep(tmp_path, "c", [bytes(90)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.kept", "c.kept"]


def test_digest_of_sources_changes_with_them(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    before = source_digest(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    assert before != source_digest(tmp_path) != ""
    assert source_digest(tmp_path / "none") == ""
