"""The vector on small jobs: what is given, what is not, and what is said instead."""

import numpy as np
import pytest
from tests.diagnose.stability_jobs import bsp, figure, footing, overlapped, vector

from loadpath.diagnose.delay import own_work
from loadpath.diagnose.load import load_delta_ns
from loadpath.diagnose.noise_model import model_noise
from loadpath.diagnose.reserve import work_classes


def test_one_step_has_values_but_no_intervals():
    rows, _ = vector(bsp([70, 100], steps=1))
    gain = figure(rows, "one_off_gain")
    assert gain["value"] == pytest.approx(100 / 170)
    assert gain["low"] is None
    assert figure(rows, "step_cv_ratio")["value"] is None
    assert figure(rows, "step_cv_ratio")["basis"] == (
        "not assessed: one step, or steps without time, have no spread"
    )
    assert "under 8 steps" in figure(rows, "emergent_share_ratio")["basis"]


def test_a_loss_within_its_own_interval_is_not_shared_out():
    rows, _ = vector(bsp([70, 70, 70, 70]))
    share = figure(rows, "emergent_share_ratio")
    assert share["value"] is None
    assert "nothing to share" in share["basis"]
    assert "no rank's work has noise" in figure(rows, "noise_gain")["basis"]


def test_noise_that_ranks_share_is_not_modelled_as_independent():
    """All ranks are slow in the same steps: drawn apart they would wait, as recorded they do not."""
    steps = 70 * (1 + 0.3 * np.random.default_rng(1).random(40))
    rows, _ = vector(bsp(np.tile(steps[:, None], (1, 8)), steps=40))
    assert figure(rows, "noise_gain")["value"] is None
    assert "no rank's work has noise of its own" in figure(rows, "noise_gain")["basis"]
    assert figure(rows, "noise_gain_independent")["value"] is None
    assert "misses the recorded mean step" in figure(rows, "noise_gain_independent")["basis"]


def test_under_load_noise_that_is_not_independent_has_no_gain_either():
    steps = 70 * (1 + 0.3 * np.random.default_rng(1).random(40))
    rows, _ = vector(bsp(np.tile(steps[:, None], (1, 8)), steps=40, transfer=5), loads=True)
    recorded = figure(rows, "noise_gain_independent")
    twice = figure(rows, "noise_gain_independent", load="transfers", factor=2.0)
    assert "misses the recorded mean step" in recorded["basis"]
    assert (twice["value"], twice["basis"]) == (None, recorded["basis"])


def test_where_there_is_no_noise_every_gain_of_it_says_so():
    rows, _ = vector(bsp([70, 70, 90, 70], transfer=5), loads=True)
    gains = [row for key, row in rows.items() if key[2].startswith("noise_gain")]
    assert len(gains) == 2 + 3
    for gain in gains:
        assert gain["value"] is None
        assert gain["basis"] == "not assessed: no rank's work has noise of its own"


def test_noise_that_ranks_share_does_not_hide_the_gain_of_their_own():
    """A rank's own noise costs what it costs, however much all vary together."""
    rng = np.random.default_rng(1)
    own = 70 * (1 + 0.03 * rng.standard_normal((400, 8)))
    together = 20 * rng.random((400, 1))
    alone, _ = vector(bsp(own, steps=400))
    both, _ = vector(bsp(own + together, steps=400))
    gain = figure(alone, "noise_gain")["value"]
    assert gain == pytest.approx(1.42, abs=0.1)  # the expected maximum of 8 normal draws
    assert figure(both, "noise_gain")["value"] == pytest.approx(gain, rel=0.02)


def test_few_steps_model_noise_by_ops():
    job = bsp([70] * 8, steps=4, seed=1, noise=0.01)
    base = footing(job)
    model = model_noise(job, base.parts, base.peers, base.own)
    assert "of a class on a rank drawn again" in model.method
    rows, _ = vector(job)
    told = figure(rows, "step_under_noise", "quantile", "p50")
    assert told["basis"].startswith(f"modelled: {model.method}")
    for name in ("noise_gain", "noise_gain_independent"):
        assert figure(rows, name)["value"] is None
        assert figure(rows, name)["basis"].startswith("not assessed: under 8 steps")


def test_delays_in_slack_have_no_gain_until_they_exceed_it():
    """Rank 0 has 30 of 100 ms of slack: a tenth of the step is absorbed, more than 30 ms is not."""
    rows, _ = vector(bsp([70, 100]))
    sizes = {key[4]: row["value"] for key, row in rows.items() if key[3] == "delay_ratio"}
    assert sizes == {s: pytest.approx(100 / 170) for s in ("0", "0.001", "0.01", "0.1")}
    slack = {q: figure(rows, "slack", "quantile", q)["value"] for q in ("p10", "p50", "p90")}
    assert slack["p10"] == 0.0
    assert slack["p90"] == pytest.approx(0.03, rel=1e-3)


def test_the_bound_is_a_policy_that_moves_the_reserve():
    found = [
        figure(vector(bsp([70, 100]), bound=bound)[0], "reserve", "work", "own work")["value"]
        for bound in (0.02, 0.1)
    ]
    assert found == pytest.approx([0.02, 0.1], rel=1e-3)


def test_a_load_that_the_recording_has_none_of_is_not_assessed():
    rows, tables = vector(overlapped(100, 40), loads=True)
    knee = figure(rows, "knee", load="launches")
    assert knee["value"] is None
    assert knee["basis"] == "not assessed: the recording has none of it"
    assert tables["load_curve"]["load"].unique().to_list() == ["transfers"]


def test_twice_the_transfers_take_twice_the_slack_of_overlapped_work():
    rows, _ = vector(overlapped(100, 40), loads=True)
    gains = [
        figure(rows, "one_off_gain", load=load, factor=factor)["value"]
        for load, factor in (("recorded", 1.0), ("transfers", 1.5), ("transfers", 2.0))
    ]
    assert gains == [1.0, 1.0, 1.0]
    reserve = [
        figure(rows, "reserve", "work", "transfers", load=load, factor=factor)["value"]
        for load, factor in (("recorded", 1.0), ("transfers", 2.0))
    ]
    assert reserve == pytest.approx([105 / 40 - 1, (105 - 80) / 40], rel=1e-2)


def test_without_loads_the_vector_is_the_same():
    job = bsp([70, 100, 80], steps=12, seed=2, noise=0.05)
    rows, tables = vector(job)
    loaded, _ = vector(job, loads=True)
    assert tables["load_curve"].height
    assert {key: loaded[key] for key in rows} == rows


def test_the_same_seed_gives_the_same_rows():
    job = bsp([70, 100, 80], steps=12, seed=2, noise=0.05)
    assert vector(job, seed=3)[1]["stability"].equals(vector(job, seed=3)[1]["stability"])
    assert not vector(job, seed=3)[1]["stability"].equals(vector(job, seed=4)[1]["stability"])


def test_classes_are_names_where_there_are_few():
    job = bsp([70, 100])
    code, names = work_classes(job, footing(job).effects.is_transfer)
    assert names == ["all_reduce", "compute"]
    assert code.tolist()[:2] == [1, 0]


def test_transfers_and_markers_are_no_own_work():
    job = bsp([70, 100], steps=2)
    is_transfer = footing(job).effects.is_transfer
    assert own_work(job, is_transfer).tolist() == (~is_transfer).tolist()
    delta = load_delta_ns(job, "transfers", is_transfer)
    assert delta.sum() == job.work_ns[is_transfer].sum()


def test_a_slow_rank_in_few_steps_is_not_taken_for_noise():
    rows, _ = vector(bsp([70, 70, 70, 100], steps=4, seed=1, noise=0.01))
    recorded = figure(rows, "step")["value"]
    under_noise = figure(rows, "step_under_noise", "quantile", "p50")["value"]
    assert under_noise == pytest.approx(recorded, rel=0.02)
