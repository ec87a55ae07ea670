"""What a design is: the job and the machine of a forecast, as frozen structs in SI units.

A field that is None was left out: it follows from others, or a named prior stands for it.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from loadpath.forecast.fields import Bytes, Count, Rate, Seconds, Watts
from loadpath.forecast.operation import (
    Checkpoint,
    Convergence,
    Evaluation,
    Failures,
    Noise,
    Power,
    Prices,
    Startup,
)
from loadpath.forecast.workload import Batch, Experts, Serving, Stencil, Transformer

__all__ = [
    "Batch",
    "Checkpoint",
    "Cluster",
    "Convergence",
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
    recompute : {"none", "selective", "latent", "alternate", "full"}
        What the backward pass computes again: nothing, the attention core, queries, keys and values from
        their latent form, half of the layer, or all.
    tensor_overlap : {"none", "weight_gradient", "pipelined"}
        Which tensor-parallel transfers run under computation: none, those of the backward pass
        under weight gradients, or all in pieces beside their matrix product.
    data_overlap : bool
        Whether gradients and parameters travel under computation.
    stage_overlap : bool or None
        Whether transfers between stages run under computation; as `chunks` > 1 where None.
    embedding_apart : bool
        Whether the first and the last stage have one layer less each, for embedding and loss.
    expert_overlap : bool
        Whether tokens travel to experts and back under computation of another microbatch.
    """

    tensor: Count = 1
    pipeline: Count = 1
    context: Count = 1
    expert: Count = 1
    chunks: Count = 1
    sharding: Literal["none", "optimizer", "gradients", "full"] = "none"
    shard_group: Count | None = None
    sequence_parallel: bool = False
    recompute: Literal["none", "selective", "latent", "alternate", "full"] = "none"
    tensor_overlap: Literal["none", "weight_gradient", "pipelined"] = "weight_gradient"
    data_overlap: bool = True
    stage_overlap: bool | None = None
    embedding_apart: bool = False
    expert_overlap: bool = False


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
    power_cap : float or None
        Of one accelerator, in W.
    memory : float or None
        Of one accelerator, in B; that of the device where None.
    """

    device: str
    accelerators: Count
    node_size: Count | None = None
    tiers: tuple[Tier, ...] = ()
    power_cap: Watts | None = None
    memory: Bytes | None = None


class Software(Struct, frozen=True, kw_only=True):
    """What the kernels are.

    Attributes
    ----------
    precision : {"fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "int8", "fp4"}
        Of the large matrix products.
    attention : {"flash", "portable", "unfused"}
        Whether the scores of attention stay on the chip, in kernels written for this device or for
        the one before it.
    fusion : {"fused", "eager"}
        Whether element-wise operations share passes over memory.
    expert_kernels : {"joined", "apart"}
        Whether the products of a rank's experts are one kernel that casts on the way, or one each with
        casts of their own.
    expert_dispatch : {"each_expert", "each_node"}
        Whether a token crosses the network for each of its experts (all-to-all), or once to each node that
        holds some of them, where the fast link hands it on.
    graphs : bool
        Whether kernels are launched as recorded graphs, without the host.
    gradient_bytes : int
        Bytes of one gradient in memory and on the network.
    parameter_bytes : int
        Bytes of one weight in memory and on the network, the optimiser's copy apart.
    accumulation : {"fused", "apart"}
        Whether gradients are added to those of earlier microbatches inside their matrix product, or by
        a pass over memory.
    scaling : {"own", "delayed"}
        Whether the scales of 8-bit products are each rank's own, or reduced over all tensor and data ranks in
        every pass.
    """

    precision: Literal["fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "int8", "fp4"] = "bf16"
    attention: Literal["flash", "portable", "unfused"] = "flash"
    fusion: Literal["fused", "eager"] = "fused"
    expert_kernels: Literal["joined", "apart"] = "joined"
    expert_dispatch: Literal["each_expert", "each_node"] = "each_expert"
    graphs: bool = False
    gradient_bytes: Literal[2, 4] = 4
    parameter_bytes: Literal[1, 2] = 2
    accumulation: Literal["fused", "apart"] = "fused"
    scaling: Literal["own", "delayed"] = "own"


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
    batch, parallelism, software, noise, failures, checkpoint, convergence, evaluation, startup, prices, power :
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
    convergence: Convergence | None = None
    evaluation: Evaluation | None = None
    startup: Startup = field(default_factory=Startup)
    prices: Prices | None = None
    power: Power = field(default_factory=Power)
    priors: dict[str, float] = field(default_factory=dict)
