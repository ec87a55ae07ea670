"""Search among layouts and sizes."""

import numpy as np
import pytest
from msgspec.structs import replace
from tests.forecast.designs import design, without_overheads

from loadpath.errors import UsageError
from loadpath.forecast import check_design, step_time
from loadpath.forecast.design import Cluster, Failures, Power, Prices, Startup, Tier
from loadpath.forecast.search import Budget, search
from loadpath.forecast.search_space import AXES, Space, default_space, variants

SIZES = Space(accelerators=(8, 16, 32))


def priced(job):
    return replace(
        job,
        prices=Prices(accelerator_hour=2.0),
        startup=Startup(steps=1000, duration=60.0),
    )


def slow_network(job, rate=1e8):
    tiers = (
        Tier(name="node", size=8, bandwidth=300e9),
        Tier(name="network", size=64, bandwidth=rate),
    )
    return replace(job, cluster=replace(job.cluster, tiers=tiers))


def layouts_of(found):
    return [
        tuple(row[name] for name in ("accelerators", *AXES, "microbatch"))
        for row in found.layouts.iter_rows(named=True)
    ]


def test_every_combination_is_either_timed_or_refused_with_its_reason():
    space = Space(accelerators=(8, 12), tensor=(1, 2, 3), microbatch=(1, 5), sharding=("full",))
    found = search(design(), space)
    assert found.layouts.height + found.refused["count"].sum() == 12
    assert found.layouts.height == sum(not check_design(v) for v in variants(design(), space))
    assert any("3" in text for text in found.refused["example"])


def test_best_layout_is_that_of_the_least_step_among_all():
    space = default_space(design())
    found = search(design(), space, objective="units_per_s")
    steps = [
        step_time(v).step_s for v in variants(design(), space)
        if not check_design(v) and step_time(v).fits_memory
    ]  # fmt: skip
    assert len(steps) == found.layouts.height > 100
    assert found.layouts["step_s"][0] == pytest.approx(min(steps), rel=1e-3)


def test_slow_network_makes_one_node_the_cheapest():
    found = [search(priced(slow_network(design(), rate)), SIZES).layouts for rate in (1e8, 1e9)]
    assert [table["accelerators"][0] for table in found] == [8, 8]
    costs = [table["cost_per_unit"].to_numpy() for table in found]
    slow, faster = (cost.max() / cost.min() for cost in costs)
    assert slow > 3 * faster > 3


def test_slow_link_inside_the_node_speaks_against_tensor_parallelism():
    tiers = (Tier(name="node", size=8, bandwidth=1e9),)
    job = replace(design(), cluster=replace(design().cluster, tiers=tiers))
    space = Space(tensor=(1, 2, 4, 8))
    best = search(job, space, objective="units_per_s").layouts["tensor"].to_list()
    assert best == [1, 2, 4, 8]


def test_planted_optimum_of_the_size_is_found_between_failures_and_a_deadline():
    # Twice the accelerators halve the step but failures grow with nodes: cost falls nowhere.
    job = replace(
        priced(without_overheads(design())), failures=Failures(node_rate=2e-5, restart=600.0)
    )
    found = search(job, SIZES).layouts
    assert found["accelerators"].to_list() == [8, 16, 32]
    assert np.all(np.diff(found["ettr_ratio"].to_numpy()) < 0)
    soon = found["job_s"].to_list()
    bounded = search(job, SIZES, budget=Budget(job_s=1.01 * soon[1]))
    assert bounded.layouts["accelerators"].to_list() == [16, 32, 8]
    assert bounded.layouts["within_budget"].to_list() == [True, True, False]


def test_throughput_under_a_budget_of_money_takes_the_largest_that_it_buys():
    found = search(
        priced(design()), SIZES, objective="units_per_s", budget=Budget(cost_per_h=16 * 2.0)
    )
    assert found.layouts["accelerators"][0] == 16
    assert found.layouts.filter("within_budget")["cost_per_h"].max() == 32.0


def test_front_holds_all_that_nothing_else_beats():
    found = search(priced(design()), Space(accelerators=(8, 16, 32), tensor=(1, 2, 4))).layouts
    cost, rate = found["cost_per_unit"].to_numpy(), found["units_per_s"].to_numpy()
    beaten = [
        bool(np.any((cost <= c) & (rate >= r) & ((cost < c) | (rate > r))))
        for c, r in zip(cost, rate, strict=True)
    ]
    assert found["on_front"].to_list() == [not b for b in beaten]
    assert 0 < sum(beaten) < len(beaten)


def test_less_memory_leaves_fewer_layouts():
    space = Space(tensor=(1, 2, 4, 8), recompute=("none", "full"))
    roomy = search(design(), space)
    ratio = float(np.median(roomy.layouts["memory_ratio"]))
    tight = search(design(), space, budget=Budget(memory_ratio=ratio))
    assert 0 < tight.layouts.height < roomy.layouts.height
    assert tight.layouts["memory_ratio"].to_numpy().max() <= ratio
    assert "memory" in tight.refused["place"].to_list()


def test_accelerators_beyond_the_budget_are_not_timed():
    found = search(design(), SIZES, budget=Budget(accelerators=16))
    assert sorted(found.layouts["accelerators"]) == [8, 16]
    assert "budget.accelerators" in found.refused["place"].to_list()


def test_figures_of_a_layout_hang_together():
    job = replace(
        priced(design()),
        prices=Prices(accelerator_hour=2.0, energy_kwh=0.5),
        power=Power(busy=1000.0, pue=1.2),
    )
    row = search(job, Space()).layouts.row(0, named=True)
    hour = 8 * (2.0 + 1.2 * 1.0 * 0.5)
    assert row["cost_per_h"] == pytest.approx(hour)
    assert row["units_per_s"] == pytest.approx(64 * 1024 / row["step_s"] * row["ettr_ratio"])
    assert row["job_s"] == pytest.approx(1000 * row["step_s"] / row["ettr_ratio"] + 60)
    assert row["job_cost"] == pytest.approx(row["job_s"] / 3600 * hour)
    assert row["cost_per_unit"] * row["units_per_s"] * 3600 == pytest.approx(hour)


def test_outermost_tier_grows_with_the_accelerators():
    job = replace(
        design(),
        cluster=Cluster(
            device="A100-SXM4-80GB",
            accelerators=8,
            tiers=(Tier(name="node", size=8, bandwidth=300e9),
                   Tier(name="network", size=16, bandwidth=25e9)),
        ),
    )  # fmt: skip
    assert search(job, Space(accelerators=(64,))).layouts.height == 1


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"objective": "job_s"}, "startup.steps"),
        ({"budget": Budget(cost_per_h=1.0)}, "prices"),
        ({"budget": Budget(job_cost=1.0)}, "startup.steps is missing.*prices are missing"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_missing_key(more, word):
    with pytest.raises(UsageError, match=word):
        search(design(), Space(), **more)


def test_space_without_a_sound_layout_gives_an_empty_table_and_the_reasons():
    found = search(design(), Space(tensor=(3, 5)), budget=Budget(memory_ratio=0.5))
    assert found.layouts.height == 0
    assert found.refused["count"].sum() == 2


def test_same_search_gives_the_same_order():
    space = default_space(design(), (8, 16))
    assert layouts_of(search(design(), space)) == layouts_of(search(design(), space))
