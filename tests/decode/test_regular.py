import os
from pathlib import Path

import pytest

from loadpath.decode import check_regular, file_digest, read_blocks
from loadpath.errors import InputError


def test_file_and_link_to_a_file_are_regular(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    (tmp_path / "b").symlink_to(path)
    assert check_regular(path) == path
    assert check_regular(tmp_path / "b") == tmp_path / "b"


def test_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match=r"is a folder, no regular file. Name a file"):
        check_regular(tmp_path)


@pytest.mark.parametrize("name", ["none", "a\0b", "x" * 300])
def test_path_that_cannot_be_looked_at_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be read"):
        check_regular(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
def test_pipe_is_never_opened(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for opening in (file_digest, lambda path: list(read_blocks(path))):
        with pytest.raises(InputError, match="is a pipe or a device"):
            opening(pipe)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="devices are of POSIX")
def test_link_to_a_device_is_refused(tmp_path):
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a pipe or a device"):
        check_regular(tmp_path / "zero.json")
