"""Weak links and nodes among measured pairs: which lie below their peers by more than chance.

Of each test (collective, ranks per node, sizes) the logarithm of a pair's bandwidth is what all pairs have in
common, what each of its two nodes adds, and a rest. Nodes are judged by the one, links by the other.
"""

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.diagnose.significance import ALPHA, N_DRAW
from loadpath.tables.measured import LINK_HEALTH

__all__ = ["LEAST_RATIO", "link_health"]

LEAST_RATIO = 0.05
"""Below its peers by less, a link is not called weak: such tests repeat within a few percent. A policy."""
TEST = ("collective", "n_node", "n_rank_per_node", "min_bytes", "max_bytes")
LEAST_PAIRS = 6
"""Pairs of a test; among fewer, nodes and links cannot be told apart."""
SWEEPS = 8
"""Of the median polish; it settles in a few."""
NORMAL = 1.4826
"""Standard deviation of a normal law over its median absolute deviation."""
FloatArray = NDArray[np.float64]


def link_health(links: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Judge measured pairs of nodes.

    Parameters
    ----------
    links : polars.DataFrame
        Table `LINK_POINT`; rows of other than two nodes are left out.
    rng : numpy.random.Generator
        Source of the shuffles.

    Returns
    -------
    polars.DataFrame
        Table `LINK_HEALTH`, the weakest first: each pair and each node.

    Notes
    -----
    A unit's rests are divided by those of its test (median absolute deviation) and added up over tests. Half
    of the error rate (`ALPHA`, over all units) is that of shuffling units within each test: a link that is
    slow in one test by chance is not so in the others. The other half is that of single tests: of the one
    that lies beyond all others there, by an exponential tail through the largest of these.
    """
    tests = [_rests(test) for _, test in _pairs(links).group_by(*TEST, maintain_order=True)]
    units = [
        _judged([test[k] for test in tests if test], what, rng)
        for k, what in enumerate(("link", "node"))
    ]
    rows = [row for found in units for row in found]
    weak = pl.col("is_weak")
    return LINK_HEALTH.build(pl.DataFrame(rows, LINK_HEALTH.schema, orient="row")).sort(
        ~weak, -pl.col("deficit_ratio"), "place", "name"
    )


def _pairs(links: pl.DataFrame) -> pl.DataFrame:
    """Rows of two nodes, with their names."""
    two = links.filter((pl.col("n_node") == 2) & (pl.col("mean_bytes_per_s") > 0))
    names = [_names(text) for text in two["nodes"]]
    return two.with_columns(pl.Series("pair", names, dtype=pl.List(pl.String))).filter(
        pl.col("pair").list.len() == 2
    )


def _names(nodes: str) -> list[str]:
    """Names of two nodes, also in Slurm's short form ``node[001,003]`` or ``node[001-002]``."""
    short = re.fullmatch(r"(.*)\[(\w+)[,-](\w+)\]", nodes)
    names = [short[1] + short[2], short[1] + short[3]] if short else nodes.split(",")
    return sorted(name.strip() for name in names)


def _rests(test: pl.DataFrame) -> list[tuple[list[str], FloatArray]] | None:
    """Deficits of links and of nodes in one test, in natural logarithms."""
    once = test.group_by("pair", maintain_order=True).agg(pl.col("mean_bytes_per_s").median())
    if once.height < LEAST_PAIRS:
        return None
    pairs = once["pair"].to_list()
    nodes, place = np.unique(np.array(pairs), return_inverse=True)
    ends = place.reshape(-1, 2)
    rest = -np.log(once["mean_bytes_per_s"].to_numpy())
    rest -= np.median(rest)
    added = np.zeros(nodes.size)
    for _ in range(SWEEPS):
        step = np.array([np.median(rest[(ends == k).any(axis=1)]) for k in range(nodes.size)]) / 2
        step -= np.median(step)
        added += step
        rest -= step[ends].sum(axis=1)
        rest -= np.median(rest)
    return [([" - ".join(pair) for pair in pairs], rest), (nodes.tolist(), added)]


def _judged(
    tests: Sequence[tuple[list[str], FloatArray]], what: str, rng: np.random.Generator
) -> list[tuple[object, ...]]:
    """Rows of `LINK_HEALTH` of all units of one kind."""
    names = sorted({name for held, _ in tests for name in held})
    if not names:
        return []
    place = {name: k for k, name in enumerate(names)}
    deficit = np.full((len(tests), len(names)), np.nan)
    for row, (held, rest) in enumerate(tests):
        deficit[row, [place[name] for name in held]] = rest
    spread = NORMAL * np.nanmedian(np.abs(deficit), axis=1, keepdims=True)
    score = deficit / np.maximum(spread, 1e-6)
    total = _total(score)
    shuffled, (single, worst) = _shuffled(score, total, rng), _beyond(deficit)
    p = np.minimum(1.0, 2 * np.minimum(shuffled, single))
    mean = 1 - np.exp(-np.where(shuffled <= single, np.nanmean(deficit, axis=0), worst))
    return [
        (what, name, int((~np.isnan(deficit[:, k])).sum()), float(mean[k]), float(total[k]), float(p[k]),
         bool(p[k] <= ALPHA and mean[k] >= LEAST_RATIO))
        for k, name in enumerate(names)
    ]  # fmt: skip


def _total(score: FloatArray) -> FloatArray:
    """Mean over tests times the root of their number: comparable where some tests are missing."""
    n = np.maximum((~np.isnan(score)).sum(axis=0), 1)
    total: FloatArray = np.nansum(score, axis=0) / np.sqrt(n)
    return total


def _shuffled(score: FloatArray, total: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Share of shuffled tables whose largest total reaches each unit's."""
    if len(score) < 2:
        return np.ones(total.size)
    reached = np.ones(total.size)
    for _ in range(N_DRAW):
        reached += _total(rng.permuted(score, axis=1)).max() >= total
    return reached / (N_DRAW + 1)


def _beyond(deficit: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least probability, over tests, of one as far out as each unit; and how far out it is there."""
    p = np.ones(deficit.shape)
    for row, rest in enumerate(deficit):
        held = np.flatnonzero(~np.isnan(rest))
        p[row, held] = _tail(rest[held])
    at = p.argmin(axis=0)[None]
    least, worst = (np.take_along_axis(value, at, axis=0)[0] for value in (p, deficit))
    return np.minimum(1.0, least * len(deficit)), worst


def _tail(rest: FloatArray) -> FloatArray:
    """Probability of values beyond all others, by an exponential tail through the largest of these.

    Its length is known from a few values only: the tail is the predictive one, which is heavier.
    """  # noqa: DOC201
    n_tail = max(3, round(np.sqrt(rest.size)))
    p = np.ones(rest.size)
    first, second = (int(place) for place in np.argsort(-rest, kind="stable")[:2])
    others = np.sort(np.delete(rest, first))[::-1]
    if rest[first] > rest[second]:
        low = others[min(n_tail, others.size - 1)]
        length = max(float((others[:n_tail] - low).sum()), 1e-12)
        p[first] = min(1.0, n_tail * (1 + (rest[first] - low) / length) ** -n_tail)
    return p
