"""Recordings of several windows: the last whole one is audited, and the others are said."""

import shutil
from pathlib import Path

import polars as pl

from loadpath.audit import load_recording
from loadpath.audit.windows import in_window, windows_caveat

EXAMPLES = Path(__file__).parents[2] / "examples"


def recording(folder, **windows):
    """Folder with so many traces in each window."""
    for name, n in windows.items():
        window = folder / name.replace("_", "-")
        window.mkdir()
        for rank in range(n):
            shutil.copy(EXAMPLES / "tp-healthy" / f"rank{rank}.json.gz", window)
        (window / ".rank3.json.gz.partial").write_bytes(b"cut")
        shutil.copy(EXAMPLES / "tp-healthy" / "fr_rank0.json.gz", window)
    (folder / "steps_rank0.log").write_text("rank,step\n")
    return folder


def test_the_last_window_that_all_ranks_wrote_is_read(tmp_path):
    folder = recording(tmp_path, window_1=4, window_2=4, window_3=1)
    assert in_window(folder).name == "window-2"
    read = load_recording(folder)
    assert read.rank.height == 4
    said = read.caveat.filter(pl.col("code") == "other_windows")
    assert said["n"].to_list() == [2]
    assert "window-2 is read" in said["text"][0]


def test_one_window_alone_is_no_doubt(tmp_path):
    folder = recording(tmp_path, window_1=2)
    assert windows_caveat([folder]).is_empty()


def test_a_folder_without_windows_or_with_empty_ones_is_read_itself(tmp_path):
    assert in_window(tmp_path) == tmp_path
    (tmp_path / "window-1").mkdir()
    assert in_window(tmp_path) == tmp_path
    assert in_window(tmp_path / "absent") == tmp_path / "absent"
