"""Which layouts and sizes of a design a search tries."""

from collections.abc import Iterable, Iterator
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from loadpath.forecast.design import Batch, Design
from loadpath.forecast.layout import fast_domain
from loadpath.forecast.transformer import model_of

__all__ = ["AXES", "Space", "default_space", "variants"]

AXES = ("tensor", "pipeline", "context", "expert", "chunks", "sharding", "recompute")
"""Fields of `Parallelism` that a search may vary, in the order in which ties are broken."""


class Space(Struct, frozen=True, kw_only=True):
    """Values to try; an empty tuple keeps that of the design.

    Attributes
    ----------
    accelerators, tensor, pipeline, context, expert, chunks, microbatch : tuple of int
        Sizes and degrees.
    sharding, recompute : tuple of str
        As in `Parallelism`.
    """

    accelerators: tuple[int, ...] = ()
    tensor: tuple[int, ...] = ()
    pipeline: tuple[int, ...] = ()
    context: tuple[int, ...] = ()
    expert: tuple[int, ...] = ()
    chunks: tuple[int, ...] = ()
    microbatch: tuple[int, ...] = ()
    sharding: tuple[str, ...] = ()
    recompute: tuple[str, ...] = ()


def default_space(design: Design, accelerators: Iterable[int] = ()) -> Space:
    """List the values that a transformer of these dimensions admits.

    Parameters
    ----------
    design : Design
        A training design.
    accelerators : iterable of int
        Sizes to try; none keeps that of the design.

    Returns
    -------
    Space
        Tensor widths inside the fast link, stages and chunks that divide the layers, experts that
        divide, microbatches to 8, sharding and recomputation of every kind.
    """
    model, domain = model_of(design), min(64, fast_domain(design))
    twos = tuple(2**k for k in range(7))
    layers = model.layers + 2 * design.parallelism.embedding_apart
    parts = tuple(n for n in range(1, layers + 1) if layers % n == 0)
    count = 1 if model.experts is None else model.experts.count
    return Space(
        accelerators=tuple(sorted(set(accelerators))),
        tensor=tuple(n for n in twos if n <= domain and model.heads % n == 0),
        pipeline=tuple(n for n in parts if n <= 64),
        expert=tuple(n for n in (*twos, 128, 256) if count % n == 0),
        chunks=parts,
        microbatch=(1, 2, 4, 8),
        sharding=("none", "optimizer", "gradients", "full"),
        recompute=("none", "selective", "full"),
    )


def variants(design: Design, space: Space) -> Iterator[Design]:
    """Combine all values; designs that share a graph follow each other.

    Parameters
    ----------
    design : Design
        What the space does not vary; its outermost tier grows with the accelerators.
    space : Space
        Values to try.

    Yields
    ------
    Design
        Sound or not.
    """
    batch = design.batch or Batch(sequences=1)
    own = {name: getattr(design.parallelism, name) for name in AXES}
    own |= {"microbatch": batch.microbatch, "accelerators": design.cluster.accelerators}
    values = {name: getattr(space, name) or (value,) for name, value in own.items()}
    graph = ("pipeline", "chunks", "microbatch", "sharding", "accelerators", "tensor")
    order = sorted(values, key=lambda name: graph.index(name) if name in graph else len(graph))
    for combination in product(*(values[name] for name in order)):
        chosen = dict(zip(order, combination, strict=True))
        n, micro = chosen.pop("accelerators"), chosen.pop("microbatch")
        tiers = design.cluster.tiers
        if tiers and tiers[-1].size < n:
            tiers = (*tiers[:-1], replace(tiers[-1], size=n))
        yield replace(
            design,
            parallelism=replace(design.parallelism, **chosen),
            cluster=replace(design.cluster, accelerators=n, tiers=tiers),
            batch=replace(batch, microbatch=micro),
        )
