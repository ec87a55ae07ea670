"""A job held as runs of one graph is diagnosed like the same job in one graph of all steps."""

from typing import Any

import numpy as np
import pytest

from loadpath.audit.document import build_document
from loadpath.audit.findings import diagnose
from loadpath.audit.settings import Settings
from loadpath.couple.pipeline import couple_steps
from loadpath.couple.steps import as_runs, lay_out
from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.critical import unexplained_ratio
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.moments import look_at_moments
from loadpath.ingest.op_table import read_steps
from loadpath.testing import Cause, make_job, write_op_table

JOBS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rank": ({"kind": "rank", "size": 0.1}, {"pp": 3, "dp": 2, "steps": 6}),
    "intermittent": (
        {"kind": "rank", "size": 0.1, "steps_ratio": 0.3},
        {"pp": 1, "dp": 4, "steps": 36, "microbatches": 2},
    ),
    "link": ({"kind": "link", "size": 0.2}, {"pp": 4, "dp": 2, "steps": 5}),
    "stage": ({"kind": "stage", "size": 0.2}, {"pp": 4, "dp": 2, "steps": 5}),
    "data": ({"kind": "data", "size": 0.2}, {"pp": 1, "dp": 3, "steps": 8}),
    "data of stages": ({"kind": "data", "size": 0.2}, {"pp": 3, "dp": 2, "steps": 4}),
    "jitter": ({"kind": "jitter", "size": 0.1}, {"pp": 2, "vpp": 2, "dp": 2, "steps": 9}),
    "none": ({"kind": "none"}, {"pp": 2, "dp": 2, "steps": 40, "microbatches": 4}),
}


SINGLE = ("attribution", "failure_envelope", "limitation", "interaction")
"""What carries deviations in single precision, of one graph or of one step."""


@pytest.fixture(scope="module", params=JOBS)
def runs(request, tmp_path_factory):
    cause, shape = JOBS[request.param]
    # noise of one part in 100 leaves the order of ops, and so the couplings, as they are
    job = make_job(3, cause=Cause(**cause), noise=0.01, **shape)
    folder = tmp_path_factory.mktemp("job")
    write_op_table(job, folder)
    found = as_runs(couple_steps(read_steps(next(folder.glob("*.parquet")))))
    if found.runs is None:
        pytest.fail("steps of this job are not coupled alike; choose another seed")
    return found


def described(job):
    found = diagnose(job, Settings(), lambda _: None, drawn=False)
    return build_document(job, Settings(), ["job"], found), found["tables"]


def assert_close(ours, theirs, where=""):
    if isinstance(ours, dict):
        assert set(ours) == set(theirs), where
        for key in ours:
            assert_close(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), where
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, where)
    elif isinstance(ours, float) and any(name in where for name in SINGLE):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6, nan_ok=True), where
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12, nan_ok=True), where
    else:
        assert ours == theirs, where


def by_key(document):
    document["attribution"].sort(key=lambda row: (row["by"], row["key"]))
    return document


def test_documents_of_runs_and_of_all_steps_laid_out_agree(runs):
    ours, theirs = (by_key(described(job)[0]) for job in (runs, lay_out(runs)))
    assert ours["verdict"]["kind"] != "not_assessable"
    assert_close(ours, theirs)


def test_tables_of_runs_and_of_all_steps_laid_out_agree(runs):
    ours, theirs = (described(job)[1] for job in (runs, lay_out(runs)))
    assert set(ours) == set(theirs)
    for name in set(ours) - {"attribution"}:
        assert ours[name].schema == theirs[name].schema
        assert_close(ours[name].rows(), theirs[name].rows(), name)


def test_pictures_of_runs_and_of_all_steps_laid_out_agree(runs):
    drawn = ("path", "timeline", "rank_step")
    ours, theirs = (
        diagnose(job, Settings(), lambda _: None)["tables"] for job in (runs, lay_out(runs))
    )
    for name in drawn:
        assert ours[name].height
        assert_close(ours[name].rows(), theirs[name].rows(), name)


def test_effects_of_runs_are_those_of_their_ops(runs):
    ours, theirs = nest_effects(runs), nest_effects(lay_out(runs))
    for name in ("work_ns", "residual_ns", "ideal_ns", "data_ns"):
        rows = np.broadcast_to(getattr(ours, name), runs.work_ns.shape)
        np.testing.assert_allclose(rows.ravel(), getattr(theirs, name), rtol=1e-12, atol=1e-6)


def test_candidates_of_runs_sit_on_the_same_ops_in_every_run(runs):
    flat = lay_out(runs)
    ours, theirs = (
        find_candidates(job, nest_effects(job), np.random.default_rng(0)) for job in (runs, flat)
    )
    assert [c.key for c in ours] == [c.key for c in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.significant == other.significant
        op = (np.arange(runs.n_run)[:, None] * runs.n_op + one.op).ravel()
        change = np.broadcast_to(one.change_ns, (runs.n_run, one.op.size)).ravel()
        assert op.tolist() == other.op.tolist()
        np.testing.assert_allclose(change, other.change_ns, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("n_run", [1, 2, 3])
def test_a_look_at_moments_does_not_depend_on_how_many_runs_are_looked_at_together(runs, n_run):
    ideal = nest_effects(runs).ideal_ns
    ours = look_at_moments(runs, ideal, at_once=n_run * runs.n_op)
    theirs = look_at_moments(lay_out(runs), np.tile(ideal, runs.n_run))
    assert len(ours.told) > 1
    np.testing.assert_allclose(ours.missed_ns, theirs.missed_ns, rtol=1e-12)
    for name in ("rank_time", "sink", "coupling", "coupling_group", "rank_step"):
        assert_close(getattr(ours, name).rows(), getattr(theirs, name).rows(), name)


@pytest.mark.parametrize("n_run", [1, 2, 3])
def test_what_nothing_explains_does_not_depend_on_how_many_runs_are_looked_at_together(runs, n_run):
    assert unexplained_ratio(runs, at_once=n_run * runs.n_op) == pytest.approx(
        unexplained_ratio(lay_out(runs)), rel=1e-12
    )
