"""NCCL's cost model against values worked out from its formulas, and against its own limits."""

import numpy as np
import pytest

from loadpath.errors import UsageError
from loadpath.forecast.collectives import collective_time_s, nccl_choice
from loadpath.forecast.nccl_fabric import NcclFabric
from loadpath.forecast.nccl_model import ALGORITHMS, PROTOCOLS, algorithm_time_s

NODE = NcclFabric(320e9, 40e9)  # 16 channels of 20 GB/s inside, 8 x 40 GB/s between nodes


@pytest.mark.parametrize(
    ("n_rank", "size", "microseconds", "way"),
    [
        (8, 1 << 10, 15.0, "ring/ll"),
        (8, 1 << 30, 5928, "ring/simple"),
        (64, 1 << 10, 45.3, "tree/ll"),
        (64, 1 << 20, 95.2, "tree/ll128"),
        (64, 1 << 26, 623, "tree/ll128"),
        (64, 1 << 30, 7425, "ring/simple"),
        (1024, 1 << 20, 163, "tree/ll128"),
        (1024, 1 << 26, 691, "tree/ll128"),
        (1024, 1 << 30, 7555, "tree/simple"),
    ],
)
def test_choice_and_time_are_those_worked_out_by_hand(n_rank, size, microseconds, way):
    seconds, chosen = nccl_choice("all_reduce", size, n_rank, 8, NODE)
    assert chosen == way
    assert seconds * 1e6 == pytest.approx(microseconds, rel=2e-3)


def test_ring_of_many_ranks_is_much_slower_than_the_tree_chosen():
    ring = algorithm_time_s("all_reduce", 1 << 30, 1024, 8, fabric=NODE, way="ring/simple")
    assert ring * 1e6 == pytest.approx(20224, rel=1e-3)


def test_long_message_takes_the_closed_form_of_the_ring():
    size, n = 1 << 40, 8
    seconds = collective_time_s("all_reduce", size, n, 8, NODE)
    assert seconds == pytest.approx(2 * (n - 1) / n * size / 320e9, rel=1e-3)


def test_nvlink_sharp_beats_the_ring_where_the_switch_reduces():
    sharp = NcclFabric(320e9, 40e9, has_nvls=True)
    seconds, chosen = nccl_choice("all_reduce", 1 << 30, 8, 8, sharp)
    assert chosen == "nvls/simple"
    assert seconds < collective_time_s("all_reduce", 1 << 30, 8, 8, NODE)


def test_switches_that_do_not_reduce_have_no_such_algorithm():
    way = algorithm_time_s("all_reduce", 1 << 30, 8, 8, fabric=NODE, way="nvls/simple")
    assert np.isinf(way)


@pytest.mark.parametrize("kind", [*ALGORITHMS, "all_to_all", "send_recv"])
def test_time_grows_with_bytes_and_falls_with_bandwidth(kind):
    sizes = 2.0 ** np.arange(26, 36)
    slow, fast = (collective_time_s(kind, sizes, 64, 8, NcclFabric(b, b / 8)) for b in (1e11, 2e11))
    assert np.all(np.diff(slow) > 0)
    assert np.all(fast < slow)


def test_all_to_all_between_nodes_is_bound_by_what_leaves_the_node():
    size = 1 << 34
    seconds = collective_time_s("all_to_all", size, 64, 8, NODE)
    assert seconds == pytest.approx(size * 56 / 64 / 40e9, rel=1e-3)


def test_group_of_one_and_nothing_to_send_take_no_time():
    assert collective_time_s("all_reduce", [0, 1 << 20], [64, 1], 8, NODE).tolist() == [0, 0]


def test_oversubscription_halves_what_nodes_exchange():
    half = NcclFabric(320e9, 40e9, oversubscription=2.0)
    kinds = ("send_recv", "all_to_all")
    for kind in kinds:
        ratio = collective_time_s(kind, 1 << 36, 16, 1, half) / collective_time_s(
            kind, 1 << 36, 16, 1, NODE
        )
        assert ratio == pytest.approx(2, rel=1e-3)


def test_every_protocol_of_every_algorithm_gives_times_above_zero():
    for kind, algorithms in ALGORITHMS.items():
        for way in (f"{a}/{p}" for a in algorithms for p in PROTOCOLS):
            times = algorithm_time_s(kind, 1 << 24, [2, 8, 16, 64], 8, fabric=NODE, way=way)
            assert np.all(times > 0)


def test_unknown_collective_and_impossible_group_are_refused():
    with pytest.raises(UsageError, match="'gossip' is unknown"):
        collective_time_s("gossip", 1, 8, 8, NODE)
    with pytest.raises(UsageError, match="groups and nodes at 1 rank"):
        collective_time_s("all_reduce", 1, 0, 8, NODE)


def test_fabric_that_cannot_be_names_all_that_is_wrong():
    with pytest.raises(UsageError, match=r"intra_bytes_per_s is 0.*generation is 'kepler'"):
        NcclFabric(0, 1e9, generation="kepler")  # type: ignore[arg-type]
