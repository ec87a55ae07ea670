"""Variance whose parts were planted."""

import numpy as np
import pytest
from tests.diagnose.stability_jobs import bsp, footing

from loadpath.diagnose.emergence import measure_losses
from loadpath.diagnose.fidelity import measured_step_ns
from loadpath.diagnose.variance import split_series, variance_table


def table_of(job):
    base = footing(job)
    losses = measure_losses(job, base.effects, base.parts)
    return variance_table(base, losses, measured_step_ns(job) / 1e9)


def test_a_wave_is_found_with_its_period():
    steps = np.arange(96)
    rng = np.random.default_rng(1)
    value = 10 + np.sin(2 * np.pi * steps / 8) + 0.3 * rng.normal(size=96)
    split = split_series(value, 0.0, even=True)
    assert split.period == 8.0
    assert split.periodic == pytest.approx(0.5, abs=0.06)
    assert split.noise == pytest.approx(0.09, abs=0.04)


def test_steps_at_uneven_distances_have_no_period():
    value = 10 + np.sin(2 * np.pi * np.arange(96) / 8)
    split = split_series(value, 0.0, even=False)
    assert np.isnan(split.period)
    assert split.periodic == 0.0


def test_noise_alone_has_neither_waves_nor_events_beyond_chance():
    found = [
        split_series(np.random.default_rng(s).normal(size=64), 0.0, even=True) for s in range(200)
    ]
    assert sum(np.isfinite(split.period) for split in found) <= 5
    assert sum(split.n_events > 0 for split in found) <= 12


def test_a_rare_event_is_told_from_noise():
    value = 10 + 0.1 * np.random.default_rng(1).normal(size=50)
    value[17] += 5
    split = split_series(value, 0.0, even=True)
    assert split.n_events == 1
    assert split.rare / sum(split[:5]) > 0.9


def test_a_slow_rank_is_persistent_in_its_own_work_and_in_the_step():
    job = bsp([70, 70, 70, 100], steps=20, seed=1, noise=0.01)
    shares = {
        (row["place"], row["part"]): row["share_ratio"]
        for row in table_of(job).iter_rows(named=True)
    }
    assert shares["rank 3", "persistent"] > 0.95
    assert shares["job", "persistent"] > 0.95
    assert shares["rank 0", "persistent"] < 0.5


def test_parts_of_every_place_sum_to_its_total():
    table = table_of(bsp([70, 90, 70], steps=24, seed=2, noise=0.05))
    for (_, _), rows in table.group_by("of", "place"):
        values = dict(rows.select("part", "variance_s2").iter_rows())
        total = values.pop("total")
        assert sum(values.values()) == pytest.approx(total)


def test_few_steps_are_not_split():
    table = table_of(bsp([70, 90], steps=5))
    assert table["variance_s2"].null_count() == table.height
    assert set(table["basis"]) == {"not assessed: 8 steps or more are needed"}


def test_a_checkpoint_every_tenth_step_is_periodic_and_no_event():
    steps = np.arange(100)
    value = 10 + 0.1 * np.random.default_rng(2).normal(size=100) + 3 * (steps % 10 == 3)
    split = split_series(value, 0.0, even=True)
    assert split.period == 10.0
    assert split.n_events == 0
    assert split.periodic / sum(split[:5]) > 0.95
