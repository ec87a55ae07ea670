"""No figure is empty without a reason in its basis."""

import numpy as np
import polars as pl
import pytest
from tests.diagnose.small_jobs import communicate, compute, job
from tests.diagnose.stability_jobs import bsp, vector

from loadpath.diagnose.efficiency import efficiencies
from loadpath.diagnose.limitation import limitations

JOBS = {
    "one step": bsp([70, 100, 70], transfer=20, steps=1),
    "three steps": bsp([70, 100, 70], transfer=20, steps=3),
    "twelve steps": bsp([70, 100, 70], transfer=20, seed=1, noise=0.02),
    "transfers alone": job([communicate(rank, 5, step=k) for k in range(9) for rank in range(2)]),
    "one rank's work": job([compute(0, 10), communicate(0, 5), communicate(1, 5)], [[1, 2]]),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_figure_of_stability_without_value_or_interval_says_why(name):
    table = vector(JOBS[name])[1]["stability"]
    for row in table.filter(pl.col("value").is_null()).iter_rows(named=True):
        assert ": " in row["basis"], row
    for row in table.filter(pl.col("value").is_not_null() & pl.col("low").is_null()).iter_rows(
        named=True
    ):
        assert "no interval: " in row["basis"], row


@pytest.mark.parametrize("name", JOBS)
def test_limits_without_interval_or_margin_say_why(name):
    small = JOBS[name]
    table = limitations(small, small.work_ns * 0.9, np.random.default_rng(0))
    for value, word in (("elasticity_low_ratio", "no interval"), ("margin_ratio", "no margin")):
        said = table["basis"].str.contains(word)
        assert (said == table[value].is_null()).all()


@pytest.mark.parametrize("name", JOBS)
def test_efficiencies_say_how_they_were_got_and_why_they_have_no_interval(name):
    table = efficiencies(JOBS[name], np.random.default_rng(0))
    assert (table["basis"].str.contains("no interval") == table["value_low_ratio"].is_null()).all()
    got = dict(table.select("factor", pl.col("basis").str.extract("^([a-z]+)")).iter_rows())
    assert (got["load_balance"], got["serialisation"]) == ("measured", "replayed")
