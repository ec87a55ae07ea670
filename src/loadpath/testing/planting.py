"""Where a cause sits in a job, and how much longer which tasks become."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.testing.cause import Cause, Mechanism, Place, resolve_place
from loadpath.testing.shape import Shape, host_of, rank_of, recorded_ranks

__all__ = ["Site", "choose_site", "excess_weight"]

PAUSED_RATIO = 0.05
"""Share of a host thread's calls that pause, where the host is the cause."""

DATA_PARALLEL = (
    "params-all-gather",
    "grads-reduce-scatter",
    "separate-grads-all-reduce",
)


@dataclass(frozen=True, slots=True)
class Site:
    """A cause with all its choices made.

    Attributes
    ----------
    cause : Cause
        What was asked for.
    place, mechanism : str
        Resolved.
    ranks, hosts, link : tuple
        Culprits.
    stage : int
        Culprit, -1 none.
    steps : tuple of int
        Indices of the steps with the cause.
    victims : tuple of (int, int)
        Of a data cause: replica and microbatch that is long in each step.
    """

    cause: Cause
    place: Place
    mechanism: Mechanism
    ranks: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()
    link: tuple[int, ...] = ()
    stage: int = -1
    steps: tuple[int, ...] = ()
    victims: tuple[tuple[int, int], ...] = ()


def choose_site(shape: Shape, cause: Cause, rng: np.random.Generator) -> Site:
    """Draw what a cause leaves open.

    Parameters
    ----------
    shape : Shape
        Size of the job.
    cause : Cause
        What was asked for.
    rng : numpy.random.Generator
        Source of the choices.

    Returns
    -------
    Site
        The cause, placed.

    Raises
    ------
    UsageError
        If this job has no such place.
    """
    place, mechanism = resolve_place(cause)
    if mechanism in {"host", "input"} and shape.recorder != "kineto":
        raise UsageError("An op table has no host: use recorder='kineto' or mechanism='device'.")
    steps = _draw_steps(shape, cause, rng)
    site = Site(cause, place, mechanism, steps=steps)
    if place in {"rank", "host", "all"} and cause.kind in {"rank", "host"}:
        return _with_ranks(shape, site, rng)
    if place == "microbatch":
        pairs = rng.integers((shape.dp, shape.microbatches), size=(shape.steps, 2)).tolist()
        return _changed(site, victims=tuple((a, b) for a, b in pairs))
    if place in {"stage", "link", "group"}:
        return _with_stage(shape, site, rng)
    return site


def excess_weight(
    shape: Shape,
    site: Site,
    task: pl.DataFrame,
    *,
    duration_ns: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Say how an excess is spread over tasks.

    Parameters
    ----------
    shape : Shape
        Size of the job.
    site : Site
        The cause, placed.
    task : polars.DataFrame
        Tasks of the program.
    duration_ns : (n_task,) array of float
        Durations without the cause.
    rng : numpy.random.Generator
        Draws which host calls pause.

    Returns
    -------
    (n_task,) array of float
        Weights; on the rank that has most they sum to the number of steps.
    """
    hit = task.select(_hit(shape, site).alias("hit"))["hit"].to_numpy()
    weight = np.where(hit, duration_ns, 0.0)
    if site.mechanism == "host":
        paused = rng.random(weight.size) < PAUSED_RATIO
        weight = np.where(hit & paused, rng.gamma(2.0, 0.5, weight.size), 0.0)
    total = np.bincount(task["rank"].to_numpy(), weights=weight).max()
    return weight * (shape.steps / total) if total > 0 else weight


def _hit(shape: Shape, site: Site) -> pl.Expr:
    # Tasks that the cause lengthens.
    computes = pl.col("kind") == "compute"
    match site.place:
        case "stage":
            hit = computes & (pl.col("stage") == site.stage)
        case "link":
            hit = (pl.col("kind") == "p2p") & _between(shape, site)
        case "group":
            hit = _data_parallel(shape, site)
        case "microbatch":
            hit = computes & _long(site)
        case "rank" | "host" | "all" if site.ranks:
            kind = "compute" if site.mechanism == "device" else site.mechanism
            hit = (pl.col("kind") == kind) & pl.col("rank").is_in(site.ranks)
        case _:
            hit = pl.lit(value=False)
    return hit & pl.col("step").is_in(site.steps)


def _between(shape: Shape, site: Site) -> pl.Expr:
    # Transfers whose ends are the two ranks of the link.
    here = pl.col("rank").is_in(site.link)
    if shape.recorder == "kineto":
        return here & pl.col("peer").is_in(site.link)
    return here & (here.sum().over("group") == 2)


def _data_parallel(shape: Shape, site: Site) -> pl.Expr:
    # Data-parallel communication of the group.
    if shape.recorder == "kineto":
        data = pl.col("communicator").str.starts_with("data/")
        return data & pl.col("rank").is_in(site.link)
    return pl.col("name").is_in(DATA_PARALLEL) & (pl.col("stage") == site.stage)


def _long(site: Site) -> pl.Expr:
    # Computations of the microbatch that is long in its step.
    keys = [f"{step}/{r}/{m}" for step, (r, m) in enumerate(site.victims)]
    return pl.format("{}/{}/{}", "step", "replica", "microbatch").is_in(keys)


def _draw_steps(shape: Shape, cause: Cause, rng: np.random.Generator) -> tuple[int, ...]:
    n_hit = max(1, round(cause.steps_ratio * shape.steps))
    return tuple(sorted(rng.permutation(shape.steps)[:n_hit].tolist()))


def _with_ranks(shape: Shape, site: Site, rng: np.random.Generator) -> Site:
    known = [rank for rank, *_ in recorded_ranks(shape)]
    asked = site.cause.ranks
    if set(asked) - set(known):
        raise UsageError(f"Ranks {asked} of the cause are not all recorded: {known} are.")
    if site.place == "all":
        ranks = known
    elif site.place == "host":
        names = sorted({host_of(shape, rank) for rank in known})
        name = host_of(shape, asked[0]) if asked else names[rng.integers(len(names))]
        ranks = [rank for rank in known if host_of(shape, rank) == name]
        return _changed(site, ranks=tuple(ranks), hosts=(name,))
    else:
        n_ranks = min(site.cause.n_ranks, len(known))
        ranks = list(asked) or rng.permutation(known)[:n_ranks].tolist()
    return _changed(site, ranks=tuple(sorted(ranks)))


def _with_stage(shape: Shape, site: Site, rng: np.random.Generator) -> Site:
    needs = {"stage": shape.pp, "link": shape.pp, "group": shape.dp}[site.place]
    if needs < 2:
        raise UsageError(f"A cause with place {site.place!r} needs two or more of its kind.")
    if site.place == "link":
        return _changed(site, link=tuple(sorted(site.cause.link)) or _draw_link(shape, rng))
    stage = site.cause.stage if site.cause.stage >= 0 else int(rng.integers(shape.pp))
    if site.place == "stage":
        return _changed(site, stage=stage)
    peer = int(rng.integers(shape.tp)) if shape.recorder == "kineto" else 0
    members = tuple(rank_of(shape, stage, replica, peer) for replica in range(shape.dp))
    return _changed(site, stage=stage, link=members)


def _draw_link(shape: Shape, rng: np.random.Generator) -> tuple[int, int]:
    stage, replica = int(rng.integers(shape.pp - 1)), int(rng.integers(shape.dp))
    peer = int(rng.integers(shape.tp)) if shape.recorder == "kineto" else 0
    return rank_of(shape, stage, replica, peer), rank_of(shape, stage + 1, replica, peer)


def _changed(site: Site, **fields: object) -> Site:
    kept = {name: getattr(site, name) for name in Site.__slots__}
    return Site(**(kept | fields))
