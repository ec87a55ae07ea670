"""What limits recorded jobs whose cause is known; read from LOADPATH_DATA."""

import os
from pathlib import Path

import pytest

from loadpath.audit import run_audit

JOBS = {
    "slow worker": "bytedance-straggler/trace-AR.parquet",
    "long stage": "bytedance-straggler/trace-ST.parquet",
    "starved devices": "kineto-megatron-tp8",
    "late input": "gloo-ddp-4",
    "healthy twin": "gloo-ddp-4-healthy",
}


@pytest.fixture(scope="module")
def audited():
    """Audit of a job of `JOBS`; each is audited once."""
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    known = {}

    def audit(name):
        path = Path(root) / "data" / JOBS[name]
        assert path.exists(), f"LOADPATH_DATA has no {path}"
        if name not in known:
            known[name] = run_audit(path, brief=False)
        return known[name]

    return audit


@pytest.fixture(scope="module")
def document(audited):
    return lambda name: audited(name).document


BOUNDS = {
    "slow worker": "compute",
    "long stage": "compute",
    "starved devices": "host",
    "late input": "input",
}


@pytest.mark.parametrize("name", BOUNDS)
def test_real_jobs_are_bound_by_what_is_known_of_them(document, name):
    assert document(name)["limitation"]["bound"] == BOUNDS[name]


@pytest.mark.parametrize("name", BOUNDS)
def test_elasticities_of_real_jobs_sum_to_one(document, name):
    found = document(name)["limitation"]
    assert found["elasticity_sum_ratio"] == pytest.approx(1, abs=0.002)
    assert found["elasticity_sum_low"] <= 1 + 1e-5
    assert found["elasticity_sum_high"] >= 1 - 1e-5


def test_faster_devices_and_links_do_not_help_devices_that_wait_for_their_hosts(document):
    found = document("starved devices")
    for resource in ("device", "interconnect"):
        assert found["limitation"]["elasticity"][resource]["value"] < 0.005
    # the devices compute 132 ms of 634, all alike; hosts are the part that is missing
    efficiency = found["efficiency"]
    assert efficiency["load_balance"]["value"] == pytest.approx(132.3 / 133.7, abs=0.002)
    assert efficiency["parallel_efficiency"]["value"] == pytest.approx(132.3 / 633.7, abs=0.002)
    assert efficiency["orchestration"]["value"] < 0.3
    assert efficiency["transfer"]["value"] > 0.99


def test_one_slow_worker_is_load_balance_and_not_serialisation(document):
    efficiency = document("slow worker")["efficiency"]
    assert efficiency["load_balance"]["value"] < 0.5
    assert efficiency["serialisation"]["value"] > 0.99


def test_a_long_stage_serialises_its_pipeline(document):
    efficiency = document("long stage")["efficiency"]
    assert efficiency["serialisation"]["value"] < 0.75


def test_replicas_of_a_pipeline_are_the_blocks_of_its_waits(document):
    found = document("long stage")["coupling"]
    assert found["structure"] == "replica"
    by = {division["by"]: division for division in found["divisions"]}
    assert by["found"]["n_blocks"] == by["replica"]["n_blocks"] == 2


def test_a_local_look_misses_most_of_what_a_slow_worker_causes(document):
    missed = document("slow worker")["coupling"]["missed"]
    assert 0.6 < missed["low"] <= missed["value"] <= missed["high"] < 0.8


def test_one_slow_worker_stands_outside_the_envelope(document):
    found = document("slow worker")["failure_envelope"]
    assert (found["job"]["state"], found["job"]["n_ranks"]) == ("breaks", 1)


def test_input_without_time_makes_the_job_as_fast_as_its_healthy_twin(audited):
    late, healthy = audited("late input"), audited("healthy twin")
    measured = late.table("step_time")["measured_s"].mean()
    truth = measured - healthy.table("step_time")["measured_s"].mean()
    row = late.table("limitation").filter(phase="all", resource="input", limit="all")
    assert row["gain_whole_ratio"][0] * measured == pytest.approx(truth, rel=0.1)
