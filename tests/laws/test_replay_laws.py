"""Laws that hold for every job, checked on random ones."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from tests.replay.graphs import durations, jobs

from loadpath.replay import (
    Scenarios,
    critical_path,
    last_predecessor,
    op_end_ns,
    op_ready_ns,
    op_start_ns,
    replay,
    replay_scenarios,
    slack_ns,
    step_bounds_ns,
    step_time_ns,
)

law = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def timed_jobs(draw, n_set=1):
    """Return a job and `n_set` sets of durations."""
    job = draw(jobs())
    return job, *(draw(durations(job.n_op)) for _ in range(n_set))


@law
@given(timed_jobs(2))
def test_replay_of_measured_work_and_lag_gives_the_measured_timeline(case):
    job, work, lag = case
    graph = job.graph()
    timeline = replay(graph, work, lag_ns=lag)
    start, ready, end = job.times(work.tolist(), lag.tolist())
    assert op_start_ns(graph, timeline, work).tolist() == start
    assert op_ready_ns(graph, timeline, work).tolist() == ready
    assert op_end_ns(graph, timeline).tolist() == end


@law
@given(timed_jobs(2))
def test_longer_ops_make_nothing_earlier(case):
    job, work, more = case
    graph = job.graph()
    assert np.all(replay(graph, work + more).time_ns >= replay(graph, work).time_ns)


@law
@given(timed_jobs(2))
def test_times_change_by_no_more_than_the_durations_together(case):
    job, work, other = case
    graph = job.graph()
    change = replay(graph, work).time_ns - replay(graph, other).time_ns
    assert np.abs(change).max() <= np.abs(work - other).sum()


@law
@given(timed_jobs(), st.data())
def test_one_longer_op_moves_no_time_by_more_than_its_growth(case, data):
    job, work = case
    graph = job.graph()
    longer = work.copy()
    longer[data.draw(st.integers(0, job.n_op - 1))] += 100
    change = replay(graph, longer).time_ns - replay(graph, work).time_ns
    assert 0 <= change.min() <= change.max() <= 100


@law
@given(timed_jobs(), st.data())
def test_an_added_edge_makes_no_op_earlier(case, data):
    job, work = case
    last = job.n_op - job.n_rank
    source = data.draw(st.integers(0, last - 1)) if last else 0
    later = (source // job.n_rank + 1) * job.n_rank
    extra = [(source, data.draw(st.integers(later, job.n_op - 1)))] if last else []
    graph, coupled = job.graph(), job.graph(extra=extra)
    before = op_end_ns(graph, replay(graph, work))
    assert np.all(op_end_ns(coupled, replay(coupled, work)) >= before)


@law
@given(timed_jobs(), st.data())
def test_calling_ops_and_ranks_by_other_numbers_changes_nothing(case, data):
    job, work = case
    label = np.array(data.draw(st.permutations(range(job.n_op))))
    graph, renamed = job.graph(), job.graph(label=label.tolist())
    work_renamed = np.empty_like(work)
    work_renamed[label] = work
    first, second = replay(graph, work), replay(renamed, work_renamed)
    assert np.array_equal(op_end_ns(graph, first), op_end_ns(renamed, second)[label])
    assert np.array_equal(step_time_ns(graph, first), step_time_ns(renamed, second))
    assert np.array_equal(
        slack_ns(graph, first)[graph.end_node], slack_ns(renamed, second)[renamed.end_node][label]
    )


@law
@given(timed_jobs(2))
def test_integer_and_float_replays_agree(case):
    job, work, lag = case
    graph = job.graph()
    exact, real = replay(graph, work, lag_ns=lag), replay(graph, work * 1.0, lag_ns=lag * 1.0)
    assert np.array_equal(exact.time_ns, real.time_ns)
    assert np.array_equal(slack_ns(graph, exact), slack_ns(graph, real))
    assert np.array_equal(last_predecessor(graph, exact), last_predecessor(graph, real))


@law
@given(timed_jobs())
def test_time_scaled_is_replay_of_durations_scaled(case):
    job, work = case
    graph = job.graph()
    assert np.array_equal(replay(graph, work * 7).time_ns, replay(graph, work).time_ns * 7)


@law
@given(timed_jobs(), st.data())
def test_an_op_may_be_late_by_its_slack_and_no_more(case, data):
    job, work = case
    graph = job.graph()
    timeline = replay(graph, work)
    slack = slack_ns(graph, timeline)
    assert slack.min() >= 0
    op = data.draw(st.integers(0, job.n_op - 1))
    lag = np.zeros(job.n_op, int)
    lag[op] = slack[graph.start_node[op]]
    _, end = step_bounds_ns(graph, timeline)
    assert np.array_equal(step_bounds_ns(graph, replay(graph, work, lag_ns=lag))[1], end)
    lag[op] += 1
    assert not np.array_equal(step_bounds_ns(graph, replay(graph, work, lag_ns=lag))[1], end)


@law
@given(timed_jobs())
def test_the_critical_path_has_no_slack_and_is_as_long_as_its_step(case):
    job, work = case
    graph = job.graph()
    timeline = replay(graph, work)
    slack = slack_ns(graph, timeline)
    binding = last_predecessor(graph, timeline)
    begin, end = step_bounds_ns(graph, timeline)
    for step in range(job.n_step):
        path = critical_path(graph, timeline, step, binding=binding)
        time = timeline.time_ns[path + 1]
        assert np.all(slack[path] == 0)
        assert np.array_equal(binding[path[1:]], path[:-1] + 1)
        assert (time[-1], path[-1] in graph.end_step_node) == (end[step], True)
        assert time[0] == begin[step] or timeline.time_ns[binding[path[0]]] < begin[step]


@law
@given(timed_jobs(2), st.data())
def test_scenarios_agree_with_exact_replays(case, data):
    job, work, other = case
    graph = job.graph()
    group = np.array(data.draw(st.lists(st.integers(0, 3), min_size=job.n_op, max_size=job.n_op)))
    seed = data.draw(st.integers(0, 2**32 - 1))
    scale = np.random.default_rng(seed).random((4, data.draw(st.integers(1, 70))))
    delta = other - work
    got = replay_scenarios(graph, replay(graph, work), Scenarios(delta, group, scale))
    exact = [step_time_ns(graph, replay(graph, work + delta * column[group])) for column in scale.T]
    assert np.allclose(got, np.transpose(exact), rtol=1e-6, atol=1e-3)


@law
@given(timed_jobs(2))
def test_scenarios_that_change_nothing_or_all_are_exact(case):
    job, work, other = case
    graph = job.graph()
    scenarios = Scenarios(other - work, np.zeros(job.n_op, int), np.array([[0.0, 1.0]]))
    got = replay_scenarios(graph, replay(graph, work), scenarios)
    assert np.array_equal(got[:, 0], step_time_ns(graph, replay(graph, work)))
    assert np.array_equal(got[:, 1], step_time_ns(graph, replay(graph, other)))
