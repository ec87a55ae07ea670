"""Options of an audit: what is refused, and what the reproducing command says."""

from pathlib import Path

import pytest

from loadpath.audit import Settings
from loadpath.errors import UsageError


def test_defaults_need_no_arguments():
    assert Settings().as_arguments() == []


def test_all_wrong_options_are_named_at_once():
    with pytest.raises(UsageError) as refused:
        Settings(baseline="worst", gate=1.5, rate=-1, work_per_step=0, seed=-1)  # type: ignore[arg-type]
    text = str(refused.value)
    assert "baseline 'worst' is not one of median, mean, best" in text
    assert "gate 1.5 is not between 0 and 1" in text
    assert "rate -1 is not a positive number" in text
    assert "work_per_step 0 is not a positive number" in text
    assert "seed -1 is negative" in text
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_rates_that_are_no_price_are_refused(value):
    with pytest.raises(UsageError, match="rate"):
        Settings(rate=value)


@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_gates_that_gate_nothing_are_refused(value):
    with pytest.raises(UsageError, match="gate"):
        Settings(gate=value)


def test_arguments_name_files_without_their_folders():
    settings = Settings(hosts=Path("/data/hosts.csv"), rate=2.5, seed=7)
    assert settings.as_arguments() == ["--hosts", "hosts.csv", "--rate", "2.5", "--seed", "7"]


def test_files_of_ranks_are_named_without_their_folders():
    settings = Settings(ranks=("/data/ranks.csv", "/data/a.json=3"))
    assert settings.as_arguments() == ["--ranks", "ranks.csv", "--ranks", "a.json=3"]


def test_options_of_two_words_are_written_with_a_dash():
    assert Settings(work_per_step=100.0).as_arguments() == ["--work-per-step", "100.0"]


def test_a_currency_without_a_rate_is_refused():
    with pytest.raises(UsageError, match="currency EUR is given without a rate"):
        Settings(currency="EUR")
