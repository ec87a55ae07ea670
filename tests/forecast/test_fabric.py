"""Times of collectives against their closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.forecast.designs import design

from loadpath.errors import UsageError
from loadpath.forecast.collectives import collective_time_s
from loadpath.forecast.devices import shipped_devices
from loadpath.forecast.fabric import Fabric, collective_parts_s
from loadpath.forecast.priors import assume
from loadpath.forecast.rates import fabric_of

IDEAL = Fabric(link=100e9, network=10e9, link_latency=0.0, network_latency=0.0, start=0.0)
REAL = Fabric(link=100e9, network=10e9, link_latency=2e-6, network_latency=8e-6, start=1e-5)
KINDS = st.sampled_from(["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"])


@pytest.mark.parametrize(
    ("kind", "rounds"), [("all_reduce", 2), ("all_gather", 1), ("reduce_scatter", 1)]
)
@pytest.mark.parametrize("n", [2, 4, 8])
def test_ring_moves_its_share_over_each_link(kind, rounds, n):
    time = collective_time_s(kind, 1e9, n, n, IDEAL)
    assert time == pytest.approx(rounds * (n - 1) / n * 1e9 / 100e9)


def test_group_over_nodes_uses_one_adapter_for_each_of_its_local_ranks():
    alone = collective_time_s("all_gather", 1e9, 64, 1, IDEAL)
    four = collective_time_s("all_gather", 1e9, 64, 4, IDEAL)
    assert alone == pytest.approx(63 / 64 * 1e9 / 10e9)
    assert alone / four == pytest.approx(4)


def test_link_inside_a_node_limits_many_adapters():
    fast = Fabric(link=20e9, network=10e9, link_latency=0.0, network_latency=0.0, start=0.0)
    assert collective_time_s("all_gather", 1e9, 16, 8, fast) == pytest.approx(15 / 16 * 1e9 / 20e9)


def test_reduce_scatter_and_all_gather_make_an_all_reduce():
    parts = [
        collective_time_s(kind, 1e9, 32, 8, IDEAL) for kind in ("reduce_scatter", "all_gather")
    ]
    assert sum(parts) == pytest.approx(collective_time_s("all_reduce", 1e9, 32, 8, IDEAL))


def test_small_message_of_a_large_group_takes_the_tree():
    ring_hops = 2 * 1023 * 8e-6
    assert collective_time_s("all_reduce", 1024, 1024, 1, REAL) < ring_hops / 10


def test_large_message_of_a_small_group_takes_the_ring():
    ring = 2 * 7 / 8 * 1e9 / 100e9 + 1e-5 + 2 * 7 * 2e-6
    assert collective_time_s("all_reduce", 1e9, 8, 8, REAL) == pytest.approx(ring)


def test_exchange_sends_near_and_far_at_once():
    near, far = 3 / 8 * 8e9 / 100e9, 4 / 8 * 8e9 / 10e9
    assert collective_time_s("all_to_all", 8e9, 8, 4, IDEAL) == pytest.approx(max(near, far))


def test_one_rank_needs_no_communication():
    assert collective_time_s("all_reduce", 1e9, 1, 1, REAL) == 0


def test_groups_of_several_sizes_are_timed_at_once():
    together = collective_time_s("all_reduce", 1e9, [8, 64], 8, REAL)
    assert together.tolist() == [
        float(collective_time_s("all_reduce", 1e9, n, 8, REAL)) for n in (8, 64)
    ]


def test_collective_that_no_design_has_is_refused():
    with pytest.raises(UsageError, match=r"'broadcast' is none of a design"):
        collective_time_s("broadcast", 1e9, 8, 8, REAL)


def test_slower_tier_is_named():
    assert not collective_parts_s("all_gather", 1e6, 8, 8, REAL)[2]
    assert collective_parts_s("all_gather", 1e6, 16, 8, REAL)[2]


@given(KINDS, st.integers(2, 4096), st.integers(1, 8), st.floats(0, 1e12), st.floats(0, 1e12))
def test_more_bytes_never_take_less_time(kind, size, local, one, other):
    sizes = np.sort([one, other])
    times = collective_time_s(kind, sizes, size, min(local, size), REAL)
    assert times.shape == (2,)
    assert times[0] <= times[1] * (1 + 1e-12)


@given(KINDS, st.integers(2, 512), st.integers(1, 8), st.floats(1, 1e12))
def test_faster_links_never_take_more_time(kind, size, local, nbytes):
    faster = Fabric(link=200e9, network=20e9, link_latency=2e-6, network_latency=8e-6, start=1e-5)
    local = min(local, size)
    assert collective_time_s(kind, nbytes, size, local, faster) <= collective_time_s(
        kind, nbytes, size, local, REAL
    )


TORUS = replace(REAL, axes=2)


def test_ring_on_a_torus_goes_both_ways_round_on_each_axis():
    switch, torus = (collective_parts_s("all_gather", 1e9, 256, 256, f)[1] for f in (REAL, TORUS))
    assert torus == pytest.approx(1e-5 + 2 * 16 / 2 * 2e-6)
    assert torus < switch / 10


def test_exchange_on_a_torus_takes_the_links_of_all_hops_between():
    near, far = (collective_parts_s("all_to_all", 1e9, 256, 256, f)[0] for f in (REAL, TORUS))
    assert far == pytest.approx(8 * near)


def test_group_uses_the_links_of_the_axes_that_it_lies_along():
    job = design(512, 512, device="TPU-v5p", tensor=8, sharding="full")
    device = shipped_devices()["TPU-v5p"]
    links = {
        near: fabric_of(job, device, assume({}, {}), 512, near=near).link for near in (8, 64, 512)
    }
    assert [round(3 * links[n] / links[512]) for n in (8, 64, 512)] == [1, 2, 3]
