"""Laws of elasticities and of the coupling matrix, on random jobs."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from tests.diagnose.small_jobs import random_jobs, walked

from loadpath.audit.limits import limit_tables, waiting_tables
from loadpath.audit.limits_document import limits_document
from loadpath.audit.settings import Settings
from loadpath.diagnose.exposure import exposed
from loadpath.diagnose.limitation import limitations
from loadpath.diagnose.moments import look_at_moments
from loadpath.diagnose.step_sample import sample_steps
from loadpath.replay import replay, step_time_ns

law = settings(max_examples=60, deadline=None, derandomize=True)


def with_links(job):
    """Say that communications depend on links; what they wait for is in the graph already."""
    moves = pl.col("kind") == "communicate"
    link = pl.when(moves).then(pl.lit("communication")).otherwise("mechanism")
    mechanism = link.cast(job.op.schema["mechanism"])
    return replace(job, op=job.op.with_columns(mechanism=mechanism))


def resources_of(job, ideal_ns):
    table = limitations(job, ideal_ns, np.random.default_rng(0))
    mine = (pl.col("phase") == "all") & (pl.col("limit") == "all")
    return table.filter(mine & (pl.col("resource") != "spread"))


def takes_time(job):
    return step_time_ns(job.graph, replay(job.graph, job.work_ns)).sum() > 0


@law
@given(random_jobs())
def test_slopes_of_all_resources_bracket_one(job):
    assume(takes_time(job))
    found = resources_of(with_links(job), job.work_ns.astype(float))
    assert 10 * found["gain_tenth_ratio"].sum() <= 1 + 1e-5
    assert -10 * found["gain_tenth_more_ratio"].sum() >= 1 - 1e-5


@law
@given(random_jobs())
def test_elasticities_sum_to_one_where_the_path_does_not_change(job):
    assume(takes_time(job))
    found = resources_of(with_links(job), job.work_ns.astype(float))
    less, more = found["gain_tenth_ratio"].sum(), -found["gain_tenth_more_ratio"].sum()
    error = 10 * (more - less) / 2
    assert found["elasticity_ratio"].sum() == pytest.approx(1, abs=error + 1e-5)


@law
@given(random_jobs())
def test_steps_scale_with_all_durations(job):
    once, thrice = (
        step_time_ns(job.graph, replay(job.graph, scale * job.work_ns)) for scale in (1, 3)
    )
    assert (thrice == 3 * once).all()


@law
@given(random_jobs())
def test_no_resource_returns_more_than_all_of_it(job):
    assume(takes_time(job))
    found = resources_of(with_links(job), job.work_ns.astype(float))
    for part, whole in (
        ("gain_tenth_ratio", "gain_half_ratio"),
        ("gain_half_ratio", "gain_whole_ratio"),
    ):
        assert (found[part] <= found[whole] + 1e-5).all()
    assert found["gain_whole_ratio"].max() <= 1 + 1e-5


@law
@given(random_jobs())
def test_couplings_sum_to_the_exposed_waits_by_rank_and_by_communicator(job):
    timeline = replay(job.graph, job.work_ns)
    ideal = np.minimum(job.work_ns, 4)
    _, *couplings, waits = walked(job, ideal)
    assert waits.exposed_ns.sum() == exposed(job, timeline, job.work_ns).wait_ns.sum()
    beyond = (waits.exposed_ns - waits.bubble_ns).sum() / 1e9
    explained = beyond - waits.unexplained_ns.sum() / 1e9
    for table in couplings:
        assert table["direct_s"].sum() == pytest.approx(beyond)
        assert table["transitive_s"].sum() == pytest.approx(explained)


@settings(law, max_examples=30)
@given(random_jobs())
def test_every_job_has_limits_and_couplings(job):
    ideal = np.minimum(job.work_ns, 4)
    whole = with_links(job)
    tables = limit_tables(whole, sample_steps(whole), ideal.astype(float), Settings())
    moments = look_at_moments(job, ideal.astype(float))
    found = limits_document(tables | waiting_tables(job, moments, Settings()), Settings())
    assert all(found.values())
    load_balance = tables["efficiency"].filter(factor="load_balance")["value_ratio"]
    assert load_balance.is_between(0, 1).all()
    grid = tables["failure_envelope"].filter(what="grid")
    assert (grid["growth_low_ratio"] <= grid["growth_high_ratio"]).all()
