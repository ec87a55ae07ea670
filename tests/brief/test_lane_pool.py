import pytest

from loadpath.brief.lane_pool import Bar, pooled_bars


def test_few_bars_are_drawn_as_they_are():
    found = [Bar(0, "compute", 0.0, 3.0), Bar(0, "wait", 3.0, 9.0), Bar(1, "compute", 0.0, 9.0)]
    drawn = pooled_bars(found, (0.0, 10.0))
    assert drawn == {"compute": [found[0], found[2]], "wait": [found[1]]}


def test_of_too_many_bars_the_dominant_kind_of_each_column_is_drawn():
    # Each of 4,000 turns computes for 3/4 and waits for 1/4, then the rank is idle.
    turns = [(k * 0.1, k * 0.1 + 0.075, (k + 1) * 0.1) for k in range(4000)]
    found = [Bar(0, "compute", a, b) for a, b, _ in turns]
    found += [Bar(0, "wait", b, c) for _, b, c in turns]
    drawn = pooled_bars(found, (0.0, 780.0))
    assert drawn["wait"] == []
    assert [(bar.start, bar.end) for bar in drawn["compute"]] == [pytest.approx((0.0, 400.0))]


def test_a_rank_without_one_of_the_kinds_is_pooled_too():
    found = [Bar(0, "compute", k, k + 1) for k in range(800)]
    found += [Bar(1, "wait", k, k + 1) for k in range(800)]
    drawn = pooled_bars(found, (0.0, 800.0))
    assert drawn == {
        "compute": [Bar(0, "compute", 0.0, 800.0)],
        "wait": [Bar(1, "wait", 0.0, 800.0)],
    }
