"""Pipelines that send and receive in batches are judged as those that do not."""

from typing import Any

import pytest

from loadpath.audit import run_audit
from loadpath.testing import Cause, make_job, write_kineto

SHAPE: dict[str, Any] = {
    "recorder": "kineto",
    "pp": 4,
    "dp": 2,
    "steps": 4,
    "microbatches": 6,
    "p2p": "batched",
}
CAUSES = {
    "rank": (Cause("rank", size=0.2), {"ranks"}),
    "link": (Cause("link", size=0.2), {"link"}),
    "stage": (Cause("stage", size=0.3), {"stage"}),
}


def audit_of(cause, folder, **options):
    job = make_job(5, cause=cause, **SHAPE, **options)
    source = write_kineto(job, folder, sync_events=False)
    return job.truth, run_audit(source, hosts=folder / "hosts.csv", cache=False, brief=False)


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_of_a_batched_pipeline_is_named_and_priced(name, tmp_path):
    cause, fields = CAUSES[name]
    truth, audit = audit_of(cause, tmp_path)
    verdict = audit.verdict
    assert verdict["kind"] == truth.kind
    for field in fields:
        told, planted = verdict[field], getattr(truth, field)
        assert told == (list(planted) if isinstance(planted, tuple) else planted)
    lost = truth.step_s - truth.step_s_without
    assert verdict["step_s"] - verdict["step_s_without"] == pytest.approx(lost, rel=0.1)
    assert audit.document["replay"]["error_ratio_median"] < 0.01


def test_clocks_that_err_leave_the_verdict_on_a_batched_pipeline(tmp_path):
    truth, audit = audit_of(Cause("rank", size=0.2), tmp_path, skewed_ratio=0.5)
    assert (audit.verdict["kind"], audit.verdict["ranks"]) == ("rank", list(truth.ranks))
    assert audit.document["job"]["clock_residual_s"] < 5e-5
