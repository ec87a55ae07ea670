import gzip

import pytest

from loadpath.decode import blocks, read_blocks
from loadpath.errors import InputError


def read(path, block_bytes=64):
    return b"".join(read_blocks(path, block_bytes))


def test_gzip_is_recognised_by_content_not_by_name(tmp_path):
    path = tmp_path / "trace.json"
    path.write_bytes(gzip.compress(b"abc" * 1000))
    assert read(path) == b"abc" * 1000


def test_a_plain_file_named_gz_is_read_as_it_is(tmp_path):
    path = tmp_path / "trace.json.gz"
    path.write_bytes(b"{}")
    assert read(path) == b"{}"


def test_gzip_members_one_after_another_are_one_document(tmp_path):
    path = tmp_path / "two.gz"
    path.write_bytes(gzip.compress(b"one ") + gzip.compress(b"two"))
    assert read(path) == b"one two"


def test_truncated_gzip_gives_what_is_sound_and_then_an_error(tmp_path):
    path = tmp_path / "cut.gz"
    text = bytes(range(256)) * 400
    path.write_bytes(gzip.compress(text)[:-40])
    got: list[bytes] = []
    with pytest.raises(InputError, match=r"cut\.gz: gzip data end too early"):
        got.extend(read_blocks(path))
    assert text.startswith(b"".join(got))


def test_damaged_gzip_is_an_input_error(tmp_path):
    path = tmp_path / "bad.gz"
    whole = bytearray(gzip.compress(bytes(range(256)) * 400))
    whole[20:40] = b"\xff" * 20
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"bad\.gz"):
        read(path)


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "FREE_BYTES", 1000)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(2_000_000)))
    with pytest.raises(InputError, match="expands more than 400 times"):
        read(path)


def test_a_file_beyond_the_size_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "MAX_BYTES", 100)
    path = tmp_path / "large.json"
    path.write_bytes(b"x" * 200)
    with pytest.raises(InputError, match="GiB"):
        read(path)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        read(tmp_path / "none.json")
