import numpy as np
import pytest
from scipy.stats import norm

from loadpath.errors import UsageError
from loadpath.forecast.choice import compare_candidates, value_of_pilot

RNG_SEED = 7
N = 1500


# A sure candidate of cost 10, and one whose cost 10 + theta only a pilot tells.
def worlds(mean=0.2, spread=1.0):
    theta = mean + spread * norm.ppf((np.arange(N) + 0.5) / N)
    return {"sure": np.full(N, 10.0), "unknown": 10.0 + theta}, theta


def unit_loss(mean, spread):
    """Expected gain of choosing after learning a normal with this spread, against 0."""
    z = abs(mean) / spread
    return spread * (norm.pdf(z) - z * norm.sf(z))


def pilot(spread, mean=0.2):
    costs, theta = worlds(mean)
    return value_of_pilot(costs, theta, spread, np.random.default_rng(RNG_SEED), n_pilot=3000)


def test_lower_expected_cost_stands_first_and_loses_least():
    costs, theta = worlds()
    table = compare_candidates(costs)
    assert table["candidate"].to_list() == ["sure", "unknown"]
    loss = dict(table.select("candidate", "expected_loss").rows())
    assert loss["sure"] == pytest.approx(np.maximum(-theta, 0).mean())
    assert loss["unknown"] == pytest.approx(np.maximum(theta, 0).mean())
    assert table["best_ratio"].sum() == pytest.approx(1.0)


def test_knowing_everything_is_worth_the_expected_loss_of_the_best():
    costs, _ = worlds()
    best = compare_candidates(costs)["expected_loss"][0]
    assert pilot(0.5).most == pytest.approx(best)


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0, 2.0])
def test_value_of_a_pilot_is_that_of_the_closed_form(spread):
    # What a pilot shows of theta ~ N(0.2, 1) spreads by 1 / sqrt(1 + spread^2).
    truth = unit_loss(0.2, 1 / np.sqrt(1 + spread**2))
    assert pilot(spread).value == pytest.approx(truth, rel=0.1)


def test_longer_pilot_is_worth_more_and_narrows_the_band():
    long, short = pilot(0.2), pilot(1.0)
    assert short.value < long.value <= long.most
    # Today's best is the sure one; its band has no width to narrow.
    assert long.width_ratio == 1.0


def test_pilot_narrows_the_band_of_an_uncertain_best_as_normals_do():
    spread = 0.5
    found = pilot(spread, mean=-0.2)
    assert found.width_ratio == pytest.approx(spread / np.sqrt(1 + spread**2), rel=0.05)


def test_pilot_that_can_change_nothing_is_worth_nothing():
    found = pilot(0.5, mean=8.0)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.changes_ratio == 0.0


def test_pilot_full_of_noise_is_worth_next_to_nothing():
    assert pilot(100.0).value < 0.01


def test_candidates_of_other_worlds_are_refused():
    with pytest.raises(UsageError, match="same worlds"):
        compare_candidates({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(UsageError, match="one or more"):
        compare_candidates({})
    with pytest.raises(UsageError, match="spread above 0"):
        value_of_pilot({"a": [1.0]}, [1.0], 0.0, np.random.default_rng(0))
