"""Hosts whose ranks are slow together, each of them near to its own noise."""

import numpy as np
import pytest
from tests.diagnose.peer_jobs import peers

from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.host_candidates import slow_hosts

HOSTS = ["a"] * 4 + ["b"] * 4


def named(works, seed, *, steps=16, hosts=HOSTS, slow=()):
    small = peers(works, steps=steps, noise=0.03, seed=seed, hosts=hosts)
    return [c.key for c in slow_hosts(small, nest_effects(small), slow, np.random.default_rng(0))]


def test_host_of_slightly_slow_ranks_is_named():
    found = [named([100] * 4 + [106] * 4, seed) for seed in range(20)]
    assert found.count(["host b"]) >= 18


def test_noise_names_no_host():
    assert sum(bool(named([100] * 8, seed)) for seed in range(100)) <= 3


def test_one_slow_rank_does_not_name_its_host():
    assert sum(bool(named([100] * 7 + [150], seed)) for seed in range(100)) <= 3


def test_two_slow_ranks_of_four_do_not_name_their_host():
    works = [100] * 5 + [110, 100, 110]
    assert sum(bool(named(works, seed)) for seed in range(50)) <= 2
    assert sum(bool(named(works, seed, slow={5, 7})) for seed in range(50)) <= 2


def test_ranks_that_are_known_to_be_slow_are_not_counted_again():
    found = [named([100] * 4 + [106] * 3 + [130], seed, slow={7}) for seed in range(20)]
    assert found.count(["host b"]) >= 18
    assert named([100] * 4 + [130] * 4, 0, slow={4, 5, 6, 7}) == []


@pytest.mark.parametrize("hosts", [["a"] * 8, [*"abcdefgh"], ["a"] * 7 + ["b"], [""] * 8])
def test_host_without_another_of_several_ranks_has_no_peer(hosts):
    assert named([100] * 4 + [130] * 4, 0, hosts=hosts) == []


def test_ranks_of_a_named_host_go_together():
    small = peers([100] * 4 + [106] * 4, steps=16, noise=0.03, seed=1, hosts=HOSTS)
    (found,) = slow_hosts(small, nest_effects(small), (), np.random.default_rng(0))
    assert (found.ranks, found.hosts, found.place) == ((4, 5, 6, 7), ("b",), "host")
    assert set(small.op["rank"].gather(found.op)) == {4, 5, 6, 7}
