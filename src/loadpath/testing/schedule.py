"""Order of forward and backward passes on one pipeline stage."""

from typing import NamedTuple

__all__ = ["Pass", "pipeline_order"]


class Pass(NamedTuple):
    """One computation of a stage.

    Attributes
    ----------
    direction : {"forward", "backward"}
        Which pass.
    chunk : int
        Model chunk on the stage.
    microbatch : int
        Microbatch of the replica.
    """

    direction: str
    chunk: int
    microbatch: int


def pipeline_order(stage: int, pp: int, microbatches: int, vpp: int = 1) -> list[Pass]:
    """List the passes of a stage in 1F1B order, interleaved where it holds several chunks.

    Parameters
    ----------
    stage : int
        Stage, 0 first.
    pp : int
        Number of stages.
    microbatches : int
        Microbatches of a replica; a multiple of `pp` where `vpp` > 1.
    vpp : int
        Model chunks of a stage.

    Returns
    -------
    list of Pass
        ``2 * vpp * microbatches`` passes.

    References
    ----------
    .. [1] D. Narayanan et al., "Efficient large-scale language model training on GPU clusters
       using Megatron-LM", SC 2021.

    Examples
    --------
    >>> "".join(step.direction[0] for step in pipeline_order(0, pp=3, microbatches=4))
    'fffbfbbb'
    """
    total = microbatches * vpp
    ahead = pp - stage - 1 if vpp == 1 else 2 * (pp - stage - 1) + (vpp - 1) * pp
    warm_up = total if vpp > 1 and microbatches == pp else min(ahead, total)
    forward = [Pass("forward", *_unit(k, pp, vpp)) for k in range(total)]
    backward = [
        Pass("backward", vpp - 1 - chunk, microbatch)
        for chunk, microbatch in (_unit(k, pp, vpp) for k in range(total))
    ]
    order = forward[:warm_up]
    for k in range(total - warm_up):
        order += [forward[warm_up + k], backward[k]]
    return order + backward[total - warm_up :]


def _unit(k: int, pp: int, vpp: int) -> tuple[int, int]:
    # Chunk and microbatch of the k-th forward pass: groups of `pp` microbatches per chunk.
    if vpp == 1:
        return 0, k
    return k % (pp * vpp) // pp, k // (pp * vpp) * pp + k % pp
