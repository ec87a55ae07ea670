"""A design at other sizes: which sizes are asked for, and what the design is at each of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from loadpath.errors import UsageError
from loadpath.forecast.design import Design
from loadpath.forecast.design_checks import check_design
from loadpath.forecast.layout import model_ranks

__all__ = [
    "Goal",
    "Skipped",
    "default_sizes",
    "goal_of",
    "parse_sizes",
    "resize",
    "same_work",
    "split_sizes",
]

Goal = Literal["strong", "weak"]
"""Whether the work of a step stays as it is, or grows with the accelerators."""

LARGEST = 1 << 24
"""Accelerators of the largest job that is asked about."""
MOST_SIZES = 64
DOUBLINGS = 3
"""Sizes on each side of the design's own, where none are asked for."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A size at which the design cannot be.

    Attributes
    ----------
    n : int
        Accelerators.
    why : str
        What is wrong, and what would be right.
    """

    n: int
    why: str


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read a list of sizes, or a range that doubles.

    Parameters
    ----------
    text : str
        Such as ``512,1024,2048`` or ``64:16384``.

    Returns
    -------
    tuple of int
        Growing, each once.

    Raises
    ------
    UsageError
        If it is neither, or a size is not from 1 to 16,777,216.

    Examples
    --------
    >>> parse_sizes("512,64"), parse_sizes("64:300")
    ((64, 512), (64, 128, 256, 300))
    """
    ends = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\d{1,9})\s*", text)
    listed = re.fullmatch(r"\s*\d{1,9}\s*(,\s*\d{1,9}\s*)*", text)
    if ends:
        low, high = int(ends[1]), int(ends[2])
        sizes = {min(low << k, high) for k in range(LARGEST.bit_length())} if low else {0}
        sizes = sizes if low <= high else set()
    else:
        sizes = {int(part) for part in text.split(",")} if listed else set()
    if not sizes or min(sizes) < 1 or max(sizes) > LARGEST or len(sizes) > MOST_SIZES:
        raise UsageError(
            f"sizes {text[:80]!r}: give up to {MOST_SIZES} numbers of accelerators from 1 to "
            f"{LARGEST:,}, such as 512,1024,2048, or a range that doubles, such as 64:16384."
        )
    return tuple(sorted(sizes))


def goal_of(design: Design) -> Goal:
    """Say how a design scales where nobody says otherwise.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    {"strong", "weak"}
        As a stencil says; weak for a served model, whose replicas add up; else strong.
    """
    if design.stencil is not None:
        return design.stencil.scaling
    return "weak" if design.serving is not None else "strong"


def default_sizes(design: Design) -> tuple[int, ...]:
    """Choose sizes around a design's own.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    tuple of int
        From an eighth of it to eight times as many, doubling; whole replicas only.
    """
    n = design.cluster.accelerators
    ranks = model_ranks(design)
    smaller = [n >> k for k in range(1, DOUBLINGS + 1) if n % (ranks << k) == 0]
    return tuple(sorted([*smaller, *(n << k for k in range(DOUBLINGS + 1))]))


def split_sizes(
    design: Design, sizes: Iterable[int], goal: Goal
) -> tuple[dict[int, Design], list[Skipped]]:
    """Resize a design, and say where that cannot be.

    Parameters
    ----------
    design : Design
        A sound design.
    sizes : iterable of int
        Accelerators.
    goal : {"strong", "weak"}
        As of `resize`.

    Returns
    -------
    designs : dict of int to Design
        By size, growing.
    skipped : list of Skipped
        Sizes that the design does not divide, or where its weights do not fit.
    """
    designs, skipped = {}, []
    for n in sorted(set(sizes)):
        try:
            resized = resize(design, n, goal)
        except UsageError as error:
            skipped.append(Skipped(n, str(error)))
            continue
        wrong = check_design(resized)
        if wrong:
            told = "; ".join(f"{'.'.join(map(str, p.path))} {p.what}" for p in wrong)
            skipped.append(Skipped(n, told))
        else:
            designs[n] = resized
    return designs, skipped


def resize(design: Design, n: int, goal: Goal) -> Design:
    """Give a design another number of accelerators; data parallelism takes them up.

    Parameters
    ----------
    design : Design
        A sound design.
    n : int
        Accelerators.
    goal : {"strong", "weak"}
        Whether the work of a step stays, or grows with them.

    Returns
    -------
    Design
        Perhaps not sound; the outermost tier grows with the job where it would be too small.

    Raises
    ------
    UsageError
        If sequences or cells would not be whole.

    Examples
    --------
    >>> from loadpath.forecast.design import Batch, Cluster, Transformer
    >>> small = Design(
    ...     name="small",
    ...     cluster=Cluster(device="H100-SXM5-80GB", accelerators=8),
    ...     batch=Batch(sequences=64),
    ...     model=Transformer(layers=4, hidden=512, heads=8, sequence=1024, vocabulary=50304),
    ... )
    >>> resize(small, 16, "weak").batch.sequences, resize(small, 16, "strong").batch.sequences
    (128, 64)
    """
    own = design.cluster.accelerators
    tiers = design.cluster.tiers
    if tiers and tiers[-1].size < n:
        tiers = (*tiers[:-1], replace(tiers[-1], size=n))
    moved = replace(design, cluster=replace(design.cluster, accelerators=n, tiers=tiers))
    if design.stencil is not None:
        stencil, weak = design.stencil, design.stencil.scaling == "weak"
        if weak and goal == "strong":
            stencil = replace(stencil, cells=stencil.cells * own, scaling="strong")
        elif not weak and goal == "weak":
            stencil = replace(stencil, cells=_whole(stencil.cells, own, "cells"), scaling="weak")
        return replace(moved, stencil=stencil)
    if design.serving is not None and goal == "strong":
        all_of_them = design.serving.concurrent * own
        concurrent = _whole(all_of_them, n, "concurrent sequences")
        return replace(moved, serving=replace(design.serving, concurrent=concurrent))
    if design.batch is not None and design.serving is None and goal == "weak":
        sequences = _whole(design.batch.sequences * n, own, "sequences")
        return replace(moved, batch=replace(design.batch, sequences=sequences))
    return moved


def same_work(design: Design, other: Design, goal: Goal) -> bool:
    """Say whether a design does what another one would do at its size.

    Parameters
    ----------
    design : Design
        Which is resized.
    other : Design
        At any size.
    goal : {"strong", "weak"}
        As of `resize`.

    Returns
    -------
    bool
        Whether batch, cells or concurrent sequences are the same.
    """
    try:
        like = resize(design, other.cluster.accelerators, goal)
    except UsageError:
        return False
    batches = [None if one.batch is None else one.batch.sequences for one in (like, other)]
    return (like.stencil, like.serving, batches[0]) == (other.stencil, other.serving, batches[1])


def _whole(amount: int, parts: int, what: str) -> int:
    if amount % parts:
        raise UsageError(f"{what} would be {amount / parts:g}, which is not whole.")
    return amount // parts
