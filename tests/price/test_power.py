import polars as pl
import pytest

from loadpath.errors import InputError
from loadpath.price.power import NodePower, fit_node_power


def runs(*rows):
    return pl.DataFrame(rows, schema=["benchmark", "mean_w", "low_w", "high_w"], orient="row")


def test_power_lies_between_idle_and_busy():
    node = NodePower(3000, 7000)
    assert node.power_w([0, 0.5, 1, 1.5]).tolist() == [3000, 5000, 7000, 7000]


def test_switches_and_nodes_add_up():
    assert NodePower(3000, 7000).power_w(1.0, n_node=64, fabric_w=50_000) == 64 * 7000 + 50_000


def test_idle_power_is_taken_from_work_that_pauses():
    fitted = fit_node_power(runs(("a", 7000, 3000, 7200), ("b", 6800, 6500, 7100)))
    assert fitted["b"] == NodePower(3000, 6800)
    assert fitted[""] == NodePower(3000, 6900)


def test_repeated_runs_of_one_work_count_once():
    fitted = fit_node_power(runs(*[("a", 7000, 3000, 7200)] * 9, ("b", 6800, 3400, 7100)))
    assert fitted[""].idle_w == pytest.approx(3200)


def test_work_that_never_pauses_leaves_its_lowest_power_for_idle():
    fitted = fit_node_power(runs(("a", 7000, 6600, 7200), ("b", 6800, 6500, 7100)))
    assert fitted["a"].idle_w == 6500


def test_no_runs_are_refused():
    with pytest.raises(InputError, match="no runs on one node"):
        fit_node_power(runs())


def test_power_that_is_not_above_zero_is_refused():
    with pytest.raises(InputError, match="not above 0"):
        fit_node_power(runs(("a", 7000, 0, 7200)))
