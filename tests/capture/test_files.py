"""Files of a recording: complete or not there."""

import gzip

import pytest

from loadpath.capture.files import LineLog, make_folder, publish
from loadpath.errors import UsageError


def test_a_published_file_is_whole_and_nothing_is_left_beside(tmp_path):
    raw = tmp_path / "raw.json"
    raw.write_bytes(b"{}" * 1_000_000)
    publish(raw, tmp_path / "rank0.json.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["rank0.json.gz"]
    assert gzip.decompress((tmp_path / "rank0.json.gz").read_bytes()) == b"{}" * 1_000_000


def test_a_log_of_a_process_that_was_killed_lacks_half_a_second_at_most(tmp_path):
    log = LineLog(tmp_path / "log.csv", "rank,step")
    for step in range(10):
        log.write(f"0,{step}", step * 200_000_000 + 10**12)
    held = (tmp_path / "log.csv").read_text().splitlines()
    assert held[0] == "rank,step"
    assert int(held[-1].partition(",")[2]) >= 6
    log.close()
    assert (tmp_path / "log.csv").read_text().splitlines()[-1] == "0,9"


def test_a_job_that_begins_anew_goes_on_in_its_log(tmp_path):
    for step in range(2):
        log = LineLog(tmp_path / "log.csv", "rank,step")
        log.write(f"0,{step}", 0)
        log.close()
    assert (tmp_path / "log.csv").read_text() == "rank,step\n0,0\n0,1\n"


def test_a_folder_that_cannot_be_made_is_a_wrong_call(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        make_folder(tmp_path / "file" / "folder")
