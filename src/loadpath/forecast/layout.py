"""Where the ranks of a design sit: sizes of its groups, and how many of each share a node."""

from msgspec import Struct

from loadpath.forecast.design import Design
from loadpath.forecast.devices import shipped_devices

__all__ = ["Group", "Layout", "fast_domain", "lay_out", "model_ranks", "place"]


class Group(Struct, frozen=True):
    """Ranks that communicate with each other.

    Attributes
    ----------
    size : int
        How many.
    local : int
        How many of them share the fast link of a node or rack.
    """

    size: int
    local: int


class Layout(Struct, frozen=True, kw_only=True):
    """Groups of a transformer job.

    Attributes
    ----------
    data : int
        Data-parallel replicas.
    microbatches : int
        Forward passes of one replica in a step.
    domain : int
        Accelerators that the fast link joins, of those the job has.
    tensor, context, expert, gradient, expert_gradient, stages, shard, scales : Group
        Tensor and context parallelism; expert parallelism; ranks with the same weights, and with
        the same experts; two neighbouring stages; ranks among which "full" sharding divides; all ranks of
        a stage.
    """

    data: int
    microbatches: int
    domain: int
    tensor: Group
    context: Group
    expert: Group
    gradient: Group
    expert_gradient: Group
    stages: Group
    shard: Group
    scales: Group


def lay_out(design: Design) -> Layout:
    """Place ranks as training frameworks do: tensor, context, expert, data, then pipeline outward.

    Parameters
    ----------
    design : Design
        A transformer design that the checks passed.

    Returns
    -------
    Layout
        Its groups.
    """
    p, cluster = design.parallelism, design.cluster
    domain = min(fast_domain(design), cluster.accelerators)
    data = cluster.accelerators // model_ranks(design)
    batch = design.batch
    microbatches = batch.sequences // (data * batch.microbatch) if batch is not None else 1
    n_same = p.context * data
    inner = p.tensor * n_same
    stages = Group(2, 2 if 2 * inner <= domain else 1)
    shard = min(p.shard_group or n_same, n_same)
    return Layout(
        data=data,
        microbatches=microbatches,
        domain=domain,
        tensor=place(p.tensor, 1, domain),
        context=place(p.context, p.tensor, domain),
        expert=place(p.expert, 1, domain),
        gradient=place(n_same, p.tensor, domain),
        expert_gradient=place(max(1, inner // p.expert), p.expert, domain),
        stages=stages,
        shard=place(shard, p.tensor, domain),
        scales=place(inner, 1, domain),
    )


def model_ranks(design: Design) -> int:
    """Count the accelerators of one replica.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    int
        Tensor times pipeline times context parallelism.
    """
    p = design.parallelism
    return p.tensor * p.pipeline * p.context


def fast_domain(design: Design) -> int:
    """Give the accelerators that the innermost link joins.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    int
        Size of its first tier, else its node, else the domain of its device.
    """
    cluster = design.cluster
    if cluster.tiers:
        return cluster.tiers[0].size
    return cluster.node_size or shipped_devices()[cluster.device].domain


def place(size: int, stride: int, domain: int) -> Group:
    """Say how many ranks of a group share the fast link.

    Parameters
    ----------
    size : int
        Ranks of the group.
    stride : int
        Accelerators from one of them to the next.
    domain : int
        Accelerators that the fast link joins.

    Returns
    -------
    Group
        At least one of them is local.

    Examples
    --------
    >>> place(16, 4, 8)
    Group(size=16, local=2)
    """
    return Group(size, max(1, min(size, domain // stride)))
