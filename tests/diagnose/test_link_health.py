import os
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loadpath.diagnose.link_health import link_health
from loadpath.ingest.nccl_tests import read_nccl_tests
from loadpath.tables.measured import LINK_POINT

BANDWIDTH = pl.col("mean_bytes_per_s")
NODES = [f"node{k:02d}" for k in range(10)]


def measured(seed=0, *, tests=4, noise=0.02, short=False):
    """Pairs of ten nodes in some tests; nobody is weak."""
    rng = np.random.default_rng(seed)
    rows = [
        ("all_to_all", _named(pair, short=short), 2, 1 << k, 1 << 20, 1 << 30,
         (20 + 10 * k) * 1e9 * np.exp(rng.normal(0, noise)), 9e10)
        for k in range(tests) for pair in combinations(NODES, 2)
    ]  # fmt: skip
    return LINK_POINT.build(pl.DataFrame(rows, LINK_POINT.schema, orient="row"))


def _named(pair, *, short):
    return f"node[{pair[0][-2:]},{pair[1][-2:]}]" if short else ",".join(pair)


def slowed(links, hit, cut):
    return links.with_columns(
        mean_bytes_per_s=pl.when(hit).then(BANDWIDTH * cut).otherwise(BANDWIDTH)
    )


def weak(links):
    return (
        link_health(links, np.random.default_rng(0))
        .filter("is_weak")
        .select("place", "name")
        .rows()
    )


@pytest.mark.parametrize("short", [False, True])
def test_a_link_below_its_peers_in_every_test_is_weak(short):
    links = measured(short=short)
    hit = pl.col("nodes") == _named(("node03", "node07"), short=short)
    assert weak(slowed(links, hit, 0.85)) == [("link", "node03 - node07")]


def test_a_link_measured_once_is_weak_if_it_is_far_out():
    links = measured(tests=1)
    hit = pl.col("nodes") == "node03,node07"
    assert weak(slowed(links, hit, 0.5)) == [("link", "node03 - node07")]


def test_a_node_whose_links_are_all_below_their_peers_is_weak_and_its_links_are_not():
    links = measured()
    assert weak(slowed(links, pl.col("nodes").str.contains("node04"), 0.8)) == [("node", "node04")]


def test_less_than_one_of_twenty_below_its_peers_is_never_weak():
    links = measured(noise=0.001)
    assert weak(slowed(links, pl.col("nodes") == "node03,node07", 0.97)) == []


def test_healthy_pairs_are_seldom_weak():
    accused = sum(
        bool(weak(measured(seed, tests=tests, noise=0.05)))
        for seed in range(40)
        for tests in (1, 4)
    )
    assert accused <= 2  # 80 x 1 %, and Poisson's 5 %


@pytest.mark.parametrize("n_pair", [0, 1, 5])
def test_few_pairs_are_not_judged(n_pair):
    assert not link_health(measured(tests=1).head(n_pair), np.random.default_rng(0)).height


def test_rows_of_more_nodes_and_without_bandwidth_are_left_out():
    links = measured()
    other = pl.concat([
        links, links.head(20).with_columns(n_node=pl.lit(4, pl.Int32)),
        links.head(20).with_columns(mean_bytes_per_s=pl.lit(0.0)),
    ])  # fmt: skip
    rng = [np.random.default_rng(0) for _ in range(2)]
    assert link_health(other, rng[0]).equals(link_health(links, rng[1]))


def test_a_weak_link_planted_into_published_pairs_is_found_and_none_before():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    path = Path(root) / "data" / "nccl-tests" / "xxrjun" / "pairwise_summary_20260128.csv"
    links = read_nccl_tests(path).links
    assert weak(links) == []
    for pair in links["nodes"].unique().sort()[::9]:
        found = weak(slowed(links, pl.col("nodes") == pair, 0.9))
        assert found == [("link", pair.replace(",", " - "))]
