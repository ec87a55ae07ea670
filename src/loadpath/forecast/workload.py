"""What a job computes: a transformer that is trained or served, or a stencil."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from loadpath.forecast.fields import Bytes, Count, Whole, Work

__all__ = ["Batch", "Experts", "Serving", "Stencil", "Transformer"]


class Experts(Struct, frozen=True, kw_only=True):
    """Mixture of experts in place of the feed-forward layers of a transformer.

    Attributes
    ----------
    count, chosen : int
        Experts of a layer, and those that each token visits.
    feed_forward : int
        Inner width of one expert.
    shared_feed_forward : int
        Inner width of the part that every token visits; 0 none.
    dense_layers : int
        Layers at the start that keep the dense feed-forward part.
    """

    count: Count
    chosen: Count
    feed_forward: Count
    shared_feed_forward: Whole = 0
    dense_layers: Whole = 0


class Transformer(Struct, frozen=True, kw_only=True):
    """Dimensions of a decoder-only transformer.

    Attributes
    ----------
    layers, hidden, heads, sequence, vocabulary : int
        Layers, width, query heads, tokens of a sequence, size of the vocabulary.
    kv_heads, head_width, feed_forward : int or None
        Heads of keys and values, width of a head, inner width of the feed-forward part;
        `heads`, ``hidden / heads`` and ``4 * hidden`` where left out.
    latent_width : int or None
        Width to which keys and values are compressed (multi-head latent attention); None where
        they are projected straight.
    query_latent_width : int or None
        The same of queries.
    window : int or None
        Tokens that attention looks back; None for all.
    windowed_layers : int or None
        Layers in which it looks back no further; every second one where None.
    parallel_block : bool
        Whether attention and the feed-forward part of a layer read the same norm and are added
        together, instead of following each other.
    gated : bool
        Whether the feed-forward part has a gate (SwiGLU): three matrices instead of two.
    tied_embeddings : bool
        Whether input and output embeddings are one matrix.
    rotary : bool
        Whether positions are rotations; else they are a learned table.
    dropout : bool
        Whether activations are dropped at random.
    adapter_rank : int or None
        Inner width of adapters beside matrices of the model (LoRA), which alone are trained; None where
        the model itself is.
    adapted : {"all", "attention", "qkv"}
        Matrices that have one: of attention and the dense feed-forward part, of attention, or that of
        queries, keys and values.
    experts : Experts or None
        Mixture of experts; None for a dense model.
    """

    layers: Count
    hidden: Count
    heads: Count
    sequence: Count
    vocabulary: Count
    kv_heads: Count | None = None
    head_width: Count | None = None
    feed_forward: Count | None = None
    latent_width: Count | None = None
    query_latent_width: Count | None = None
    window: Count | None = None
    windowed_layers: Count | None = None
    parallel_block: bool = False
    gated: bool = False
    tied_embeddings: bool = True
    rotary: bool = False
    dropout: bool = False
    adapter_rank: Count | None = None
    adapted: Literal["all", "attention", "qkv"] = "all"
    experts: Experts | None = None


class Stencil(Struct, frozen=True, kw_only=True):
    """One step of a bulk-synchronous simulation: sweep, halo exchange, reductions.

    Attributes
    ----------
    cells : int
        Cells of the whole grid (strong scaling) or of each rank (weak scaling).
    scaling : {"strong", "weak"}
        Which of them `cells` means.
    dimensions : int
        Of the grid and of its blocks of ranks, 1 to 3.
    flop_per_cell, bytes_per_cell : float
        Work and memory traffic of one cell in one step.
    halo_width : int
        Cells that neighbours exchange on each side.
    halo_bytes_per_cell : float
        Bytes of one exchanged cell.
    reductions : int
        All-reduces of a step.
    reduction_bytes : float
        Bytes of one.
    overlap_halo : bool
        Whether the inner cells are computed during the exchange.
    """

    cells: Count
    scaling: Literal["strong", "weak"] = "strong"
    dimensions: Annotated[int, Meta(ge=1, le=3)] = 3
    flop_per_cell: Work
    bytes_per_cell: Bytes
    halo_width: Count = 1
    halo_bytes_per_cell: Bytes = 8.0
    reductions: Whole = 1
    reduction_bytes: Bytes = 8.0
    overlap_halo: bool = False


class Serving(Struct, frozen=True, kw_only=True):
    """One decoding step of a served transformer instead of a training step.

    Attributes
    ----------
    concurrent : int
        Sequences that decode together on one replica.
    context : int
        Tokens each of them has in its cache.
    """

    concurrent: Count
    context: Count


class Batch(Struct, frozen=True, kw_only=True):
    """How many sequences a step trains on.

    Attributes
    ----------
    sequences : int
        Of the whole job.
    microbatch : int
        Of one forward pass of one replica.
    """

    sequences: Count
    microbatch: Count = 1
