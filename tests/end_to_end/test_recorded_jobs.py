"""Real jobs with planted faults, each recorded beside its healthy twin, get the verdict they earned.

The truth is read from the traces by other means than loadpath's: the step marks of all ranks.
"""

import functools
import gzip
import itertools
import json
import statistics
from pathlib import Path

import pytest

from loadpath import run_audit

EXAMPLES = Path(__file__).parents[2] / "examples"


def periods_ms(folder):
    """Time from step to step, mean over ranks."""
    begins: dict[int, list[float]] = {}
    for trace in sorted((EXAMPLES / folder).glob("rank*.json.gz")):
        for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]:
            if event["name"].startswith("ProfilerStep#"):
                begins.setdefault(int(event["name"][13:]), []).append(event["ts"] / 1e3)
    means = [statistics.mean(begins[step]) for step in sorted(begins)]
    return [after - before for before, after in itertools.pairwise(means)]


def lost_ms(folder):
    """Time that the fault costs a step; checkpoints come every second step only."""
    typical = statistics.mean if "checkpoint" in folder else statistics.median
    twin = folder.split("-")[0] + "-healthy"
    return typical(periods_ms(folder)) - typical(periods_ms(twin))


@functools.cache
def audited(folder):
    """Audit of a recording."""
    return run_audit(EXAMPLES / folder)


@pytest.fixture(scope="module")
def verdict():
    """Verdict on a recording; each is audited once."""
    return lambda folder: audited(folder).verdict


FAULTS = {
    "ddp-rank": ("rank", "device", [1]),
    "ddp-checkpoint": ("host", "input", [0]),
    "fsdp2-rank": ("rank", "device", [2]),
    "tp-host": ("host", "host", [3]),
    "pp-rank": ("stage", "device", [2]),
    "pp-host": ("host", "host", [1]),
    "2d-input": ("host", "input", [2]),
}


@pytest.mark.parametrize("folder", FAULTS)
def test_planted_fault_is_named_by_kind_mechanism_and_rank(verdict, folder):
    found = verdict(folder)
    assert (found["kind"], found["mechanism"], found["culprit_ranks"]) == FAULTS[folder]


@pytest.mark.parametrize("folder", FAULTS)
def test_predicted_gain_is_what_the_healthy_twin_is_faster_by(verdict, folder):
    assert verdict(folder)["gain_s"] * 1e3 == pytest.approx(lost_ms(folder), rel=0.1)


@pytest.mark.parametrize(
    "folder", ["ddp-healthy", "fsdp2-healthy", "tp-healthy", "pp-healthy", "2d-healthy"]
)
def test_healthy_job_is_noise_or_nothing(verdict, folder):
    assert verdict(folder)["kind"] in {"jitter", "none"}
    assert verdict(folder)["ranks"] == []


@pytest.mark.parametrize("folder", [*FAULTS, "pp-healthy", "2d-healthy"])
def test_ranks_of_one_host_have_one_clock(folder):
    audit = audited(folder)
    ranks = audit.table("rank")
    assert ranks["host"].n_unique() == 1
    assert ranks["clock_offset_ns"].to_list() == ranks["clock_drift_ppb"].to_list() == [0] * 4
    assert audit.document["job"]["clock_residual_s"] == pytest.approx(1e-6)
    codes = {caveat["code"] for caveat in audit.document["caveats"]}
    assert not codes & {"bad_clocks", "clocks_set", "host_clocks_differ"}
