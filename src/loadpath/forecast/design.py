"""What a design is: the job and the machine of a forecast, as frozen structs in SI units.

A field that is None was left out: it follows from others, or a named prior stands for it.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

__all__ = [
    "Batch",
    "Checkpoint",
    "Cluster",
    "Design",
    "Evaluation",
    "Experts",
    "Failures",
    "Noise",
    "Parallelism",
    "Power",
    "Prices",
    "Serving",
    "Software",
    "Startup",
    "Stencil",
    "Tier",
    "Transformer",
]

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(extra={"unit": "s"})]
Bytes = Annotated[float, Meta(extra={"unit": "B"})]
Rate = Annotated[float, Meta(extra={"unit": "B/s"})]
Watts = Annotated[float, Meta(extra={"unit": "W"})]
Work = Annotated[float, Meta(extra={"unit": "FLOP"})]
Frequency = Annotated[float, Meta(extra={"unit": "1/s"})]


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
        Tokens that attention looks back, in every second layer; None for all.
    gated : bool
        Whether the feed-forward part has a gate (SwiGLU): three matrices instead of two.
    tied_embeddings : bool
        Whether input and output embeddings are one matrix.
    rotary : bool
        Whether positions are rotations; else they are a learned table.
    dropout : bool
        Whether activations are dropped at random.
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
    gated: bool = False
    tied_embeddings: bool = True
    rotary: bool = False
    dropout: bool = False
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


class Parallelism(Struct, frozen=True, kw_only=True):
    """How the job is laid out over accelerators.

    Attributes
    ----------
    tensor, pipeline, context, expert : int
        Degrees of parallelism; those of data follow from the number of accelerators.
    chunks : int
        Model chunks of a pipeline stage (interleaved schedule); 1 is plain 1F1B.
    sharding : {"none", "optimizer", "gradients", "full"}
        What data-parallel replicas share out (ZeRO 0 to 3; "full" is FSDP).
    shard_group : int or None
        Accelerators over which "full" shards, the rest being replicas (hybrid sharding); all where
        None.
    sequence_parallel : bool
        Whether tensor-parallel ranks share out what lies between the matrix products.
    recompute : {"none", "selective", "alternate", "full"}
        What the backward pass computes again: nothing, the attention core, half of the layer, or all.
    tensor_overlap : {"none", "weight_gradient", "pipelined"}
        Which tensor-parallel transfers run under computation: none, those of the backward pass
        under weight gradients, or all in pieces beside their matrix product.
    data_overlap : bool
        Whether gradients and parameters travel under computation.
    stage_overlap : bool or None
        Whether transfers between stages run under computation; as `chunks` > 1 where None.
    embedding_apart : bool
        Whether the first and the last stage have one layer less each, for embedding and loss.
    """

    tensor: Count = 1
    pipeline: Count = 1
    context: Count = 1
    expert: Count = 1
    chunks: Count = 1
    sharding: Literal["none", "optimizer", "gradients", "full"] = "none"
    shard_group: Count | None = None
    sequence_parallel: bool = False
    recompute: Literal["none", "selective", "alternate", "full"] = "none"
    tensor_overlap: Literal["none", "weight_gradient", "pipelined"] = "weight_gradient"
    data_overlap: bool = True
    stage_overlap: bool | None = None
    embedding_apart: bool = False


class Tier(Struct, frozen=True, kw_only=True):
    """One level of the network, from the inside out.

    Attributes
    ----------
    name : str
        Such as node, rack, pod.
    size : int
        Accelerators that one unit of it joins.
    bandwidth : float
        Of one accelerator in one direction, in B/s.
    latency : float or None
        Of one hop, in s.
    oversubscription : float
        By how much the accelerators of a unit could load it beyond what it carries; 1 is none.
    """

    name: str
    size: Count
    bandwidth: Rate
    latency: Seconds | None = None
    oversubscription: Annotated[float, Meta(ge=1)] = 1.0


class Cluster(Struct, frozen=True, kw_only=True):
    """The machine.

    Attributes
    ----------
    device : str
        A name of the shipped device data.
    accelerators : int
        How many the job has.
    node_size : int or None
        Accelerators of a node; that of the device where None.
    tiers : tuple of Tier
        Levels of the network; the node's link and network of the device where empty.
    topology : str
        How the outer tier is wired; "fat-tree" carries what its bandwidth says.
    power_cap : float or None
        Of one accelerator, in W.
    memory : float or None
        Of one accelerator, in B; that of the device where None.
    """

    device: str
    accelerators: Count
    node_size: Count | None = None
    tiers: tuple[Tier, ...] = ()
    topology: Literal["fat-tree", "rail", "torus"] = "fat-tree"
    power_cap: Watts | None = None
    memory: Bytes | None = None


class Software(Struct, frozen=True, kw_only=True):
    """What the kernels are.

    Attributes
    ----------
    precision : {"fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "fp4"}
        Of the large matrix products.
    attention : {"flash", "portable", "unfused"}
        Whether the scores of attention stay on the chip, in kernels written for this device or for
        the one before it.
    fusion : {"fused", "eager"}
        Whether element-wise operations share passes over memory.
    graphs : bool
        Whether kernels are launched as recorded graphs, without the host.
    gradient_bytes : int
        Bytes of one gradient in memory and on the network.
    """

    precision: Literal["fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "fp4"] = "bf16"
    attention: Literal["flash", "portable", "unfused"] = "flash"
    fusion: Literal["fused", "eager"] = "fused"
    graphs: bool = False
    gradient_bytes: Literal[2, 4] = 4


class Noise(Struct, frozen=True, kw_only=True):
    """How durations scatter.

    Attributes
    ----------
    variation_ratio : float or None
        Coefficient of variation of one rank's step.
    tail : {"normal", "exponential", "pareto"}
        Form of the upper tail.
    tail_shape : float or None
        Index of a Pareto tail.
    slow_ratio, slow_excess_ratio : float or None
        Share of accelerators that are persistently slow, and by how much.
    """

    variation_ratio: Amount | None = None
    tail: Literal["normal", "exponential", "pareto"] = "normal"
    tail_shape: Amount | None = None
    slow_ratio: Ratio | None = None
    slow_excess_ratio: Amount | None = None


class Failures(Struct, frozen=True, kw_only=True):
    """How often and how long the job stands still.

    Attributes
    ----------
    node_rate : float or None
        Failures of one node, in 1/s.
    restart : float or None
        Time from failure to the first new step, in s.
    spares : int
        Nodes held ready.
    """

    node_rate: Frequency | None = None
    restart: Seconds | None = None
    spares: Whole = 0


class Checkpoint(Struct, frozen=True, kw_only=True):
    """Saving the state of the job.

    Attributes
    ----------
    interval : float or None
        Time between two, in s; the best one where None.
    stall : float or None
        How long each one holds the job up, in s.
    """

    interval: Seconds | None = None
    stall: Seconds | None = None


class Evaluation(Struct, frozen=True, kw_only=True):
    """Evaluation during training.

    Attributes
    ----------
    every_steps : int
        Steps between two.
    sequences : int
        Sequences of one.
    """

    every_steps: Count
    sequences: Count


class Startup(Struct, frozen=True, kw_only=True):
    """What comes before the first step, and how many steps there are.

    Attributes
    ----------
    duration : float or None
        From allocation to the first step, in s.
    steps : int or None
        Steps of the whole job.
    """

    duration: Seconds | None = None
    steps: Count | None = None


class Prices(Struct, frozen=True, kw_only=True):
    """What the machine costs.

    Attributes
    ----------
    accelerator_hour : float
        Rate of one accelerator for one hour, in `currency`.
    energy_kwh : float
        Price of a kilowatt-hour where power is billed apart; 0 where the rate includes it.
    currency : str
        Code of the currency.
    source, date : str
        Where the rate is from, and of when.
    """

    accelerator_hour: Amount
    energy_kwh: Amount = 0.0
    currency: str = "USD"
    source: str = ""
    date: str = ""


class Power(Struct, frozen=True, kw_only=True):
    """What the machine draws.

    Attributes
    ----------
    idle, busy : float or None
        Of one accelerator with its share of the node, in W.
    pue : float or None
        Power of the building over that of the machine.
    """

    idle: Watts | None = None
    busy: Watts | None = None
    pue: Annotated[float, Meta(ge=1)] | None = None


class Design(Struct, frozen=True, kw_only=True):
    """A job that need not exist yet.

    Attributes
    ----------
    name : str
        How reports call it.
    cluster : Cluster
        The machine.
    model : Transformer or None
        The job, where it is a transformer.
    stencil : Stencil or None
        The job, where it is a bulk-synchronous simulation.
    serving : Serving or None
        That the model decodes, instead of being trained.
    batch, parallelism, software, noise, failures, checkpoint, evaluation, startup, prices, power :
        See there.
    priors : dict of str to float
        Values that stand in place of the shipped priors of the same names.
    """

    name: str
    cluster: Cluster
    model: Transformer | None = None
    stencil: Stencil | None = None
    serving: Serving | None = None
    batch: Batch | None = None
    parallelism: Parallelism = field(default_factory=Parallelism)
    software: Software = field(default_factory=Software)
    noise: Noise = field(default_factory=Noise)
    failures: Failures = field(default_factory=Failures)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    evaluation: Evaluation | None = None
    startup: Startup = field(default_factory=Startup)
    prices: Prices | None = None
    power: Power = field(default_factory=Power)
    priors: dict[str, float] = field(default_factory=dict)
