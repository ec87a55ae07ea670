"""Steps coupled once and repeated, against the same steps coupled one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.couple.readable import couple_pipeline

from loadpath.couple.pipeline import couple_steps
from loadpath.couple.steps import Measured, as_runs, as_steps, join_steps, lay_out, windows
from loadpath.errors import StructureError
from loadpath.ingest.op_table import read_op_table, read_steps
from loadpath.replay import op_end_ns, op_start_ns, replay, step_time_ns
from loadpath.testing import make_job, op_table

IDENTITY = ["step", "rank", "name", "chunk", "sequence"]
SHAPES: dict[str, dict[str, Any]] = {
    "pipeline": {"recorder": "op_table", "pp": 3, "dp": 2, "steps": 4, "microbatches": 4},
    "data parallel": {"recorder": "op_table", "pp": 1, "dp": 3, "steps": 3, "microbatches": 2},
    "no data parallelism": {
        "recorder": "op_table",
        "pp": 4,
        "dp": 1,
        "steps": 3,
        "microbatches": 5,
    },
    "interleaved": {
        "recorder": "op_table",
        "pp": 2,
        "vpp": 2,
        "dp": 2,
        "steps": 3,
        "microbatches": 4,
    },
}


@pytest.fixture(scope="module")
def recorded():
    return {name: op_table(make_job(7, **shape)) for name, shape in SHAPES.items()}


def described(job, seed):
    """Return what was measured of each op, and when it runs in a replay of random work."""
    names = pl.col("name", "op_class", "collective", "kind", "mechanism").cast(pl.String)
    table = job.op.with_columns(names).with_columns(
        pl.Series(field, getattr(job, field))
        for field in ("work_ns", "lag_ns", "arrive_ns", "wait_ns", "negative_lag_ns")
    )
    place = table.with_row_index("row").sort(IDENTITY)["row"].to_numpy()
    rng = np.random.default_rng(seed)
    work, lag = np.empty((2, job.n_op), np.int64)
    work[place], lag[place] = rng.integers(0, 10**6, (2, job.n_op))
    timeline = replay(job.graph, work, lag_ns=lag)
    return (
        table.sort(IDENTITY),
        op_start_ns(job.graph, timeline, work)[place].tolist(),
        op_end_ns(job.graph, timeline)[place].tolist(),
        step_time_ns(job.graph, timeline).tolist(),
    )


def same_job(folder, frame):
    """Read and couple a table both ways; say how many runs there were."""
    path = folder / "trace-job.parquet"
    frame.write_parquet(path)
    try:
        couple_pipeline(read_op_table(path))
    except StructureError:
        with pytest.raises(StructureError):
            couple_steps(read_steps(path))
        return 0
    steps = couple_steps(read_steps(path))
    job, single = join_steps(steps), couple_pipeline(read_op_table(path))
    for seed in range(2):
        ours, *times = described(job, seed)
        theirs, *expected = described(single, seed)
        assert ours.equals(theirs)
        assert times == expected
    assert (job.instance.height, job.membership.height) == (
        single.instance.height,
        single.membership.height,
    )
    assert sorted(job.caveat.rows()) == sorted(single.caveat.rows())
    assert job.communicator.equals(single.communicator)
    assert job.step.equals(single.step)
    assert job.rank.equals(single.rank)
    return len(steps.start_ns)


@pytest.mark.parametrize("name", SHAPES)
def test_steps_of_a_regular_job_are_coupled_once(tmp_path, recorded, name):
    assert same_job(tmp_path, recorded[name]) == SHAPES[name]["steps"]


def test_steps_may_be_recorded_in_any_order(tmp_path, recorded):
    frame = recorded["pipeline"]
    parts = frame.partition_by("step", maintain_order=True)
    assert same_job(tmp_path, pl.concat(parts[::-1])) == len(parts)


def test_steps_with_rows_in_different_orders_are_coupled_one_by_one(tmp_path, recorded):
    first, *rest = recorded["pipeline"].partition_by("step", maintain_order=True)
    assert same_job(tmp_path, pl.concat([first.reverse(), *rest])) == 1


def test_a_step_that_lacks_an_op_is_coupled_on_its_own(tmp_path, recorded):
    assert same_job(tmp_path, recorded["pipeline"][:-1]) == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([-1, 0, 1, 2, 30])), max_size=12),
    st.booleans(),
)
def test_moved_ops_never_get_the_couplings_of_another_step(
    tmp_path_factory, recorded, name, moves, zero
):
    frame = recorded[name]
    start = frame["start_ts"].to_numpy().copy()
    duration = frame["duration"].to_numpy().copy()
    for number, factor in moves:
        row = number % frame.height
        other = (number // 7) % frame.height
        # to the moment at which another op begins or ends, so that ties are met
        start[row] = start[other] if factor < 2 else start[row] + factor * duration[row]
        duration[row] = 0.0 if zero else duration[other]
    moved = frame.with_columns(pl.Series("start_ts", start), pl.Series("duration", duration))
    same_job(tmp_path_factory.mktemp("moved"), moved)


@pytest.mark.parametrize("name", ["forward-compute", "forward-send", "backward-recv"])
def test_two_ops_that_changed_places_in_one_step_are_noticed(tmp_path, recorded, name):
    frame = recorded["pipeline"].with_row_index()
    mine = frame.filter(
        (pl.col("optype") == name) & (pl.col("stage") == 1) & (pl.col("dp_rank") == 0)
    )
    later = mine.filter(pl.col("step") == mine["step"].max()).sort("start_ts")["index"]
    one, other = later[1], later[2]
    order = np.arange(frame.height)
    order[[one, other]] = other, one
    changed = frame.drop("index").with_columns(
        frame["start_ts"].gather(order), frame["duration"].gather(order)
    )
    assert same_job(tmp_path, changed) in {0, 1}


def test_caveats_count_every_step(tmp_path, recorded):
    frame = recorded["pipeline"].filter(
        ~((pl.col("optype") == "forward-send") & (pl.col("seq_id") == 0) & (pl.col("stage") == 0))
    )
    assert same_job(tmp_path, frame) == SHAPES["pipeline"]["steps"]


def test_a_recording_whose_ops_were_reordered_is_still_coupled_rightly(tmp_path, recorded):
    path = tmp_path / "trace-job.parquet"
    recorded["pipeline"].write_parquet(path)
    recording = read_steps(path)
    order = np.arange(recording.op.height)[::-1].copy()
    assert recording.alike is not None
    alike = replace(
        recording.alike,
        start_ns=recording.alike.start_ns[:, order],
        duration_ns=recording.alike.duration_ns[:, order],
    )
    turned = couple_steps(replace(recording, op=recording.op[order], alike=alike))
    assert (
        described(join_steps(turned), 0)[1:]
        == described(couple_pipeline(read_op_table(path)), 0)[1:]
    )


@pytest.mark.parametrize("n_run", [1, 2, 3, 100])
def test_windows_hold_every_run_once_and_share_what_is_alike(tmp_path, recorded, n_run):
    frame = recorded["pipeline"]
    frame.write_parquet(tmp_path / "trace-job.parquet")
    runs = as_runs(couple_steps(read_steps(tmp_path / "trace-job.parquet")))
    whole = lay_out(runs)
    some, parts = zip(*windows(runs, n_run * runs.n_op), strict=True)
    assert [run for part in some for run in range(runs.n_run)[part]] == list(range(runs.n_run))
    assert len(parts) == -(-runs.n_run // min(n_run, runs.n_run))
    for name in Measured._fields:
        together = np.concatenate([getattr(part, name) for part in parts])
        assert together.tolist() == getattr(whole, name).tolist()
    assert all(part.graph is parts[0].graph for part in parts[:-1])
    ends = [op_end_ns(part.graph, replay(part.graph, part.work_ns)) for part in parts]
    every = op_end_ns(whole.graph, replay(whole.graph, whole.work_ns))
    assert np.concatenate(ends).tolist() == every.tolist()


def test_a_job_of_one_graph_is_its_own_window_and_its_own_layout(tmp_path, recorded):
    frame = recorded["pipeline"][:-1]
    frame.write_parquet(tmp_path / "trace-job.parquet")
    job = as_runs(couple_steps(read_steps(tmp_path / "trace-job.parquet")))
    assert job.runs is None
    assert lay_out(job) is job
    assert list(windows(job, 1)) == [(slice(0, 1), job)]
    assert as_steps(job).start_ns.shape == (1, job.n_op)


def test_runs_are_numbered_and_timed_as_their_steps(tmp_path, recorded):
    frame = recorded["pipeline"]
    frame.write_parquet(tmp_path / "trace-job.parquet")
    steps = couple_steps(read_steps(tmp_path / "trace-job.parquet"))
    runs, whole = as_runs(steps), join_steps(steps)
    assert runs.step_number.tolist() == whole.step_number.tolist() == whole.graph.step.tolist()
    assert runs.start_ns.ravel().tolist() == whole.start_ns.tolist()
    assert runs.duration_ns.ravel().tolist() == whole.duration_ns.tolist()
    assert (runs.n_run * runs.n_op, whole.n_run) == (whole.n_op, 1)
