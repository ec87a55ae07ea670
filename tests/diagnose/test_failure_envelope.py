import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import communicate, compute

from loadpath.diagnose.failure_envelope import SIZES, failure_envelope
from loadpath.diagnose.failure_envelope import _limits as interpolated
from loadpath.diagnose.levels import ideal_work_ns
from loadpath.diagnose.slow_choices import N_PART, choose
from loadpath.diagnose.step_sample import sample_steps


def envelope(job, bound=0.05, seed=0):
    return failure_envelope(
        job,
        sample_steps(job),
        ideal_work_ns(job, "median"),
        bound_ratio=bound,
        rng=np.random.default_rng(seed),
    )


def limits(job, bound=0.05):
    table = envelope(job, bound).filter(
        (pl.col("what") == "limit") & (pl.col("duration_ratio") == 1)
    )
    return dict(table.select("n_ranks", "size_ratio").iter_rows())


def test_one_slow_rank_costs_as_much_as_all_where_all_wait_for_all():
    # of a step of 100 + 20 a twelfth of the work may be added: 5 % of 120 are 6 of 100
    found = limits(peers([100] * 8, steps=4))
    assert set(found) == {1, 2, 4, 8}
    assert found == pytest.approx(dict.fromkeys(found, 0.06), rel=1e-5)


def test_slack_is_added_to_what_a_rank_may_be_slow():
    # the only work of rank 1 is half as long as that of rank 0 and ends in its slack
    ops = [compute(0, 100 * MS), communicate(0, 20 * MS), compute(1, 50 * MS, "short")]
    job = coupled([*ops, communicate(1, 20 * MS)], [(1, 3)])
    table = envelope(job)
    one = table.filter(
        (pl.col("what") == "limit") & (pl.col("duration_ratio") == 1) & (pl.col("n_ranks") == 1)
    ).row(0, named=True)
    assert one["size_ratio"] == pytest.approx(0.06, rel=1e-5)
    # rank 1 takes 50 + 56 until the bound; between sizes of 100 % and 200 % the limit is a chord
    assert one["most_ratio"] == pytest.approx(1 + 6 / 50, rel=0.2)
    assert one["most_ratio"] <= 1 + 6 / 50


def test_growth_of_the_grid_is_exact():
    table = envelope(peers([100] * 4, steps=4)).filter(
        (pl.col("what") == "grid") & (pl.col("duration_ratio") == 1)
    )
    wanted = table["size_ratio"] * 100 / 120
    assert table["growth_ratio"].to_list() == pytest.approx(wanted.to_list(), rel=1e-5)
    assert set(table["size_ratio"]) == set(SIZES)


def test_slowness_outside_of_all_work_is_not_felt():
    # one op begins at the start of the step: only slowness in its first eighth is felt
    table = envelope(peers([100] * 4, steps=4)).filter(
        (pl.col("what") == "grid") & (pl.col("duration_ratio") == 0.125)
    )
    assert table["growth_low_ratio"].min() == 0
    assert table.filter(pl.col("size_ratio") == 2)["state"].to_list() == ["depends"] * 3


def test_a_larger_bound_allows_more():
    job = peers([100] * 4, steps=4)
    assert limits(job, 0.1)[1] == pytest.approx(0.12, rel=1e-5)


def test_limits_lie_between_sizes_as_growth_does_where_it_never_falls():
    rng = np.random.default_rng(3)
    longer = rng.random((50, len(SIZES))) * np.linspace(0.01, 0.3, len(SIZES))
    longer[:5] = 0.0
    rising = np.maximum.accumulate(np.pad(longer, ((0, 0), (1, 0))), axis=1)
    one_by_one = [np.interp(0.05, row, [0.0, *SIZES]) for row in rising]
    assert interpolated(longer, 0.05).tolist() == one_by_one


def test_limits_beyond_the_largest_size_are_that_size():
    assert set(limits(peers([1] * 4, transfer=1000, steps=4)).values()) == {SIZES[-1]}


@pytest.mark.parametrize(
    ("works", "state", "n_ranks"),
    [([100, 50, 50, 50], "breaks", 1), ([50.5, 50, 50, 50], "meets", 1)],
)
def test_the_job_stands_where_its_slowest_rank_is(works, state, n_ranks):
    job = envelope(peers(works, steps=6)).filter(pl.col("what") == "job").row(0, named=True)
    assert (job["state"], job["n_ranks"]) == (state, n_ranks)
    assert job["size_ratio"] == pytest.approx(works[0] / 50 - 1)
    assert job["growth_ratio"] == pytest.approx((works[0] - 50) / 70)


def test_a_job_at_its_ideal_has_no_slow_rank():
    job = envelope(peers([50] * 4, steps=4)).filter(pl.col("what") == "job").row(0, named=True)
    assert (job["n_ranks"], job["size_ratio"], job["state"]) == (0, 0.0, "meets")


def test_the_same_seed_gives_the_same_envelope():
    job = peers([90, 80, 100, 70], steps=4)
    assert envelope(job).equals(envelope(job))


def test_a_small_job_is_tried_in_every_choice_of_ranks_and_time():
    table = envelope(peers([90, 80, 100, 70], steps=4)).filter(pl.col("what") == "limit")
    assert (table["n_tried"] == table["n_possible"]).all()
    assert table["n_tried"].sum() == (4 + 6 + 1) * (8 + 4 + 2 + 1)
    assert set(table.filter(n_ranks=4, duration_ratio=1.0)["basis"]) == {
        "replayed: the one choice of ranks and time"
    }


def test_of_a_large_job_a_sample_is_tried_and_said():
    table = envelope(peers([100.0 + k for k in range(24)], steps=2)).filter(what="limit")
    one = table.filter(n_ranks=1, duration_ratio=0.125).row(0, named=True)
    assert one["n_possible"] == 24 * 8
    many = table.filter(n_ranks=6, duration_ratio=1.0).row(0, named=True)
    assert 12 <= many["n_tried"] < many["n_possible"]
    assert many["basis"].endswith("of 1.35e+05 choices of ranks and time, drawn by the seed")


@pytest.mark.parametrize("n_rank", [3, 5, 24])
def test_more_ranks_or_a_longer_time_is_never_better(n_rank):
    works = np.random.default_rng(n_rank).uniform(20, 100, (3, n_rank))
    grid = envelope(peers(works, steps=3)).filter(what="grid")
    for by in ("n_ranks", "duration_ratio", "size_ratio"):
        others = [c for c in ("n_ranks", "duration_ratio", "size_ratio") if c != by]
        for figure in ("growth_ratio", "growth_low_ratio", "growth_high_ratio"):
            falls = grid.sort(by).group_by(others).agg(pl.col(figure).diff().min())
            assert (falls[figure].fill_null(0) >= -1e-6).all()
    limits = envelope(peers(works, steps=3)).filter(what="limit").sort("n_ranks")
    assert (
        limits.group_by("duration_ratio").agg(pl.col("size_ratio").diff().max())["size_ratio"]
        <= 1e-6
    ).all()


def test_the_rank_with_most_work_is_in_every_sample():
    own = np.arange(100.0)
    for one in choose([1, 12], own, 200, np.random.default_rng(3)):
        slow = one.member.reshape(len(one.member), 100, N_PART).any(axis=2)
        assert 99 in np.flatnonzero(slow.any(axis=0))
        assert (slow.sum(axis=1) == one.n_rank).all()


def test_windows_last_as_long_as_they_say():
    for one in choose([2], np.ones(30), 50, np.random.default_rng(0)):
        lasting = one.member.reshape(len(one.member), 30, N_PART).any(axis=1).sum(axis=1)
        assert (lasting == one.duration).all()
