"""Order of the passes of a pipeline stage, for all stages at once."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["pass_order"]

IntArray = NDArray[np.int64]


def pass_order(stages: int, chunks: int, microbatches: int) -> tuple[IntArray, IntArray, IntArray]:
    """Order the passes of every stage: 1F1B, interleaved where a stage holds several chunks.

    Parameters
    ----------
    stages, chunks, microbatches : int
        Of the pipeline.

    Returns
    -------
    backward, chunk, microbatch : (stages, 2 * chunks * microbatches) arrays of int
        Direction (0 forward, 1 backward) and place of each pass.

    References
    ----------
    .. [1] D. Narayanan et al., "Efficient large-scale language model training on GPU clusters
       using Megatron-LM", SC 2021.

    Examples
    --------
    >>> pass_order(3, 1, 4)[0].tolist()
    [[0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 1, 0, 1, 0, 1, 1], [0, 1, 0, 1, 0, 1, 0, 1]]
    """
    total = chunks * microbatches
    unit = np.arange(total)
    chunk, microbatch = _units(stages, chunks, unit, microbatches)
    ahead = stages - 1 - np.arange(stages)
    if chunks > 1:
        ahead = 2 * ahead + (chunks - 1) * stages
    warm = np.minimum(ahead, total)[:, None]
    forward_at = np.where(unit < warm, unit, warm + 2 * (unit - warm))
    backward_at = np.where(unit < total - warm, warm + 2 * unit + 1, total + unit)
    rows = np.arange(stages)[:, None]
    backward, chunk_at, microbatch_at = np.ones((3, stages, 2 * total), np.int64)
    backward[rows, forward_at] = 0
    chunk_at[rows, forward_at] = chunk
    chunk_at[rows, backward_at] = chunks - 1 - chunk
    microbatch_at[rows, forward_at] = microbatch
    microbatch_at[rows, backward_at] = microbatch
    return backward, chunk_at, microbatch_at


def _units(
    stages: int, chunks: int, unit: IntArray, microbatches: int
) -> tuple[IntArray, IntArray]:
    """Give chunk and microbatch of the n-th forward pass: groups of `stages` microbatches a chunk."""
    if chunks == 1:
        return np.zeros_like(unit), unit
    group = unit // (stages * chunks)
    width = np.minimum(stages, microbatches - group * stages)
    within = unit - group * stages * chunks
    return within // width, group * stages + within % width
