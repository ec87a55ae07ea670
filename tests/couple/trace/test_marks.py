"""Step marks that do not agree between ranks, on jobs whose marks all agreed before."""

import json
from typing import Any

import polars as pl
import pytest

from loadpath.couple.trace import couple_trace
from loadpath.errors import InputError
from loadpath.ingest.kineto import read_kineto
from loadpath.testing import kineto_trace, make_job

LAYOUTS: dict[str, dict[str, Any]] = {
    "data": {"pp": 1, "dp": 4},
    "all": {"pp": 2, "tp": 2, "dp": 2},
}
MARK = "ProfilerStep#"


def recorded(folder, layout, change):
    """Read a job's traces; `change(rank, mark)` renames a step mark, None removes it."""
    job = make_job(5, recorder="kineto", steps=4, microbatches=4, **LAYOUTS[layout])
    folder.mkdir()
    for rank in job.clock["rank"].to_list():
        trace = kineto_trace(job, rank)
        events = []
        for event in trace["traceEvents"]:
            name = event["name"]
            if name.startswith(MARK):
                number = change(rank, int(name.removeprefix(MARK)))
                if number is None:
                    continue
                name = f"{MARK}{number}"
            events.append(event | {"name": name})
        (folder / f"rank{rank}.json").write_text(json.dumps(trace | {"traceEvents": events}))
    return couple_trace(read_kineto([folder]))


def work(job):
    """Work of each step and rank."""
    return (
        job.op.select("rank", "step")
        .with_columns(ns=pl.Series(job.work_ns))
        .group_by("rank", "step")
        .agg(pl.col("ns").sum())
        .sort("rank", "step")
    )


def codes(job):
    return dict(job.caveat.select("code", "n").rows())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("by", [-2, 1])
def test_marks_numbered_apart_are_numbered_as_most_ranks_do(tmp_path, layout, by):
    plain = recorded(tmp_path / "plain", layout, lambda _, step: step)
    moved = recorded(tmp_path / "moved", layout, lambda rank, step: step + by * (rank == 1))
    assert codes(moved) == codes(plain) | {"steps_renumbered": 1}
    assert moved.graph.step.tolist() == plain.graph.step.tolist()
    assert work(moved).equals(work(plain))
    assert moved.instance["matched"].all()


def test_marks_that_all_ranks_number_alike_stay(tmp_path):
    job = recorded(tmp_path / "job", "data", lambda _, step: step + 100)
    assert job.graph.step.tolist() == [103, 104, 105, 106]
    assert "steps_renumbered" not in codes(job)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lacking", [{1}, {0, 3}])
def test_ranks_without_marks_take_the_steps_of_the_others(tmp_path, layout, lacking):
    plain = recorded(tmp_path / "plain", layout, lambda _, step: step)
    shared = recorded(
        tmp_path / "shared", layout, lambda rank, step: None if rank in lacking else step
    )
    assert codes(shared) == codes(plain) | {"steps_from_peers": len(lacking)}
    assert shared.graph.step.tolist() == plain.graph.step.tolist()
    assert shared.instance["matched"].all()
    both = work(shared).join(work(plain), on=["rank", "step"], suffix="_plain")
    assert both.height == work(plain).height
    assert ((both["ns"] - both["ns_plain"]).abs() / both["ns_plain"]).max() < 0.01


def test_ranks_without_marks_that_no_communication_cuts_are_named(tmp_path, make):
    marked = [make["span"](f"{MARK}{k}", "user_annotation", 1_000 * k, 900) for k in (1, 2)]
    for rank, marks in enumerate((marked, [], marked)):
        events = [*marks, *(make["span"]("aten::mm", "cpu_op", 1_000 * k + 5, 800) for k in (1, 2))]
        (tmp_path / f"rank{rank}.json").write_text(json.dumps({"traceEvents": events}))
    with pytest.raises(InputError, match=r"ranks 1 have no step marks .*profiler\.step\(\)"):
        couple_trace(read_kineto([tmp_path]))
