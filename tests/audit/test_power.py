"""Power beside traces becomes that of the ranks, in watts, over the recorded steps."""

import math
import shutil

import polars as pl
import pytest

from loadpath import run_audit
from loadpath.audit.demo import shipped_recording
from loadpath.audit.sources import load_recording


@pytest.fixture
def recording(tmp_path):
    """Copy of a recording of four ranks, and when the steps of each begin and end."""
    folder = shutil.copytree(shipped_recording(), tmp_path / "job")
    step = load_recording(folder).step
    spans = step.group_by("rank").agg(start=pl.col("start_ns").min(), end=pl.col("end_ns").max())
    return folder, {rank: (start, end) for rank, start, end in spans.rows()}


def write(folder, rank, samples):
    lines = [f"{rank},{at},{milliwatts}" for at, milliwatts in samples]
    text = "\n".join(["rank,time_ns,power_mw", *lines])
    (folder / f"power_rank{rank}.csv").write_text(text)


def test_power_of_a_rank_is_the_mean_of_its_samples_in_its_steps(recording):
    folder, spans = recording
    for rank, (start, end) in spans.items():
        write(folder, rank, [(start - 10**9, 1), (start, 200_000), (end, 400_000 + 1000 * rank)])
    audit = run_audit(folder, brief=False, cache=False)
    assert audit.tables["rank"].sort("rank")["power_w"].to_list() == [300.0, 300.5, 301.0, 301.5]
    assert audit.document["job"]["power_w"] == pytest.approx(1203.0)
    codes = {c["code"]: c["count"] for c in audit.document["caveats"]}
    assert codes["power_unused"] == 4
    assert "unread_files" not in codes


def test_the_power_of_a_job_is_not_told_where_a_rank_has_none(recording):
    folder, spans = recording
    write(folder, 1, [(spans[1][0], 200_000)])
    write(folder, 77, [(spans[1][0], 200_000)])
    audit = run_audit(folder, brief=False, cache=False)
    powers = dict(audit.tables["rank"].select("rank", "power_w").rows())
    assert powers[1] == 200.0
    assert math.isnan(powers[0])
    assert audit.document["job"]["power_w"] is None
    assert {c["code"]: c["count"] for c in audit.document["caveats"]}["power_unused"] == 1
