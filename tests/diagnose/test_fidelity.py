import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.couple.readable import couple_pipeline
from tests.diagnose.small_jobs import compute, job
from tests.diagnose.wrong_graphs import (
    coupling_of,
    shuffled,
    with_coupling,
    without_edges,
    without_members,
)
from tests.ingest.op_rows import read, table, worker

from loadpath.audit.document import build_document
from loadpath.audit.findings import diagnose
from loadpath.audit.settings import Settings
from loadpath.couple import EdgeKind
from loadpath.diagnose.fidelity import measure_fidelity, measured_step_ns
from loadpath.ingest.op_table import read_op_table
from loadpath.testing import Cause, make_job, write_op_table

GATE = Settings().gate


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    slow = Cause("rank", 0.2, ranks=(2,))
    path = write_op_table(
        make_job(3, pp=3, dp=2, steps=4, cause=slow), tmp_path_factory.mktemp("synthetic")
    )
    return couple_pipeline(read_op_table(path))


@cache
def real():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    return couple_pipeline(
        read_op_table(Path(root) / "data" / "bytedance-straggler" / "trace-AR.parquet")
    )


@pytest.fixture(params=["synthetic", "real"])
def sound(request):
    return real() if request.param == "real" else request.getfixturevalue("synthetic")


def error(job):
    return measure_fidelity(job).error_ratio_median


def kind(job):
    settings = Settings()
    findings = diagnose(job, settings, lambda _: None)
    return build_document(job, settings, ["job"], findings)["verdict"]["kind"]


# rank 0 |F 0-10|clip 10-22|   rank 1 |F 0-20|clip 20-22|opt 22-24|
def two_replicas(tmp_path):
    frame = table(
        worker(0, forward_compute=[(0, 10)], optimizer_clip_main_grad=[(10, 22)]),
        worker(
            1,
            dp=1,
            forward_compute=[(0, 20)],
            optimizer_clip_main_grad=[(20, 22)],
            optimizer=[(22, 24)],
        ),
    )
    return couple_pipeline(read(tmp_path, frame))


def test_step_is_measured_from_the_earliest_start_to_the_latest_end(tmp_path):
    assert measured_step_ns(two_replicas(tmp_path)).tolist() == [24e6]


def test_job_without_lag_is_replayed_without_error(tmp_path):
    fidelity = measure_fidelity(two_replicas(tmp_path))
    assert fidelity.error_ratio_max == 0
    assert fidelity.measured_s.tolist() == fidelity.replayed_s.tolist() == [0.024]


def test_time_that_no_op_explains_is_error(tmp_path):
    frame = table(worker(0, forward_compute=[(0, 10), (40, 50)]))
    assert error(couple_pipeline(read(tmp_path, frame))) == pytest.approx(30 / 50)


def test_error_counts_the_rank_that_is_furthest_off(tmp_path):
    frame = table(
        worker(0, forward_compute=[(0, 100)]),
        worker(1, dp=1, forward_compute=[(0, 10), (60, 70)]),
    )
    job = couple_pipeline(read(tmp_path, frame))
    assert measure_fidelity(job).replayed_s.tolist() == [0.1]
    assert error(job) == pytest.approx(0.5)


def test_waiting_of_a_lone_transfer_is_not_replayed(tmp_path):
    frame = table(
        worker(
            1,
            stage=1,
            forward_recv=[(0, 2), (12, 14), (24, 64)],
            forward_compute=[(2, 12), (14, 24), (64, 74)],
        )
    )
    assert error(couple_pipeline(read(tmp_path, frame))) == pytest.approx(38 / 74)


def step_borders(n_op, n_step):
    """Each of a step's ops is followed by the same one of the next step."""
    return [(op, op + n_op, EdgeKind.STEP) for op in range(n_op * (n_step - 1))]


def test_steps_of_a_host_that_runs_ahead_do_not_add_up_their_errors():
    # host   |1|2|..|10|
    # device   |step 1    1 lost|step 2    1 lost| ...
    ops = [
        op
        for step in range(10)
        for op in (
            compute(0, 10, kind="host", lane=1, step=step),
            compute(0, 99, step=step, lag=1),
        )
    ]
    launches = [(2 * step, 2 * step + 1) for step in range(10)]
    small = job(ops, edges=[*launches, *step_borders(2, 10)], hosts=(1,), chained=False)
    assert error(small) == pytest.approx(0.01, rel=0.02)


def test_rank_that_its_graph_leaves_behind_is_caught_although_steps_are_counted_apart():
    # rank 1 waits for rank 0 in what was recorded, not in the graph
    ops = [
        op
        for step in range(6)
        for op in (compute(0, 100, step=step), compute(1, 10, step=step, lag=90))
    ]
    assert error(job(ops, edges=step_borders(2, 6), chained=False)) > 0.9


def test_negative_lag_is_a_mean_over_ranks(tmp_path):
    frame = table(
        worker(0, forward_compute=[(0, 10), (6, 16)]), worker(1, dp=1, forward_compute=[(0, 10)])
    )
    assert measure_fidelity(couple_pipeline(read(tmp_path, frame))).negative_lag_s == 0.002


def test_sound_job_stays_below_the_gate(sound):
    assert error(sound) < GATE / 2


def test_couplings_read_back_from_a_graph_give_the_same_graph(synthetic):
    again = with_coupling(synthetic, coupling_of(synthetic))
    assert measure_fidelity(again).error_ratio_max == measure_fidelity(synthetic).error_ratio_max
    assert np.array_equal(again.wait_ns, synthetic.wait_ns)


def test_job_without_program_order_is_caught(sound):
    assert error(without_edges(sound, lambda kinds: kinds == EdgeKind.PROGRAM)) > GATE


def test_job_without_dependencies_between_transfers_and_computations_is_caught(synthetic):
    assert error(without_edges(synthetic, lambda kinds: kinds == EdgeKind.DATA)) > GATE


@pytest.mark.parametrize("seed", range(3))
def test_one_dropped_edge_in_ten_is_caught(sound, seed):
    rng = np.random.default_rng(seed)
    assert error(without_edges(sound, lambda kinds: rng.random(kinds.size) < 0.1)) > GATE


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_edges_are_caught(sound, seed):
    assert error(shuffled(sound, np.random.default_rng(seed), 0.3)) > GATE


def test_job_whose_ranks_do_not_meet_is_caught(sound):
    assert error(without_members(sound)) > GATE


def test_job_of_which_every_second_communication_is_missing_is_caught(sound):
    half = without_members(sound, lambda coupling: coupling.member_instance % 2 == 0)
    assert error(half) > GATE


def test_job_of_which_half_the_members_are_missing_is_caught(sound):
    rng = np.random.default_rng(0)
    assert error(without_members(sound, lambda c: rng.random(c.member_op.size) < 0.5)) > GATE


def test_verdict_on_a_sound_job_names_its_cause(synthetic):
    assert kind(synthetic) == "rank"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda job: without_edges(job, lambda kinds: kinds == EdgeKind.PROGRAM),
        without_members,
        lambda job: shuffled(job, np.random.default_rng(0)),
    ],
    ids=["no program order", "no communication", "shuffled"],
)
def test_no_verdict_is_given_on_a_wrong_graph(sound, spoil):
    assert kind(spoil(sound)) == "not_assessable"
