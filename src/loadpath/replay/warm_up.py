"""Load the kernels that every job needs while its record is still being read."""

import numpy as np

from loadpath.couple.graph import Coupling, build_graph
from loadpath.replay.timeline import replay

__all__ = ["warm_up"]


def warm_up() -> None:
    """Couple and replay the smallest job there is: two ops that meet.

    Loading Numba's first kernel takes longer than reading a small record, and only computes in
    Python; reading mostly does not, so that the two overlap.
    """
    both = np.arange(2, dtype=np.int32)
    graph = build_graph(
        Coupling(
            n_op=2,
            edge_source=np.empty(0, np.int32),
            edge_target=np.empty(0, np.int32),
            edge_kind=np.empty(0, np.uint8),
            member_op=both,
            member_instance=np.zeros(2, np.int32),
            member_contributes=np.ones(2, np.bool_),
            member_waits=np.ones(2, np.bool_),
            begin_op=both,
            begin_step=np.zeros(2, np.int64),
            end_op=both,
            end_step=np.zeros(2, np.int64),
        )
    )
    for kind in (np.int64, np.float64):
        replay(graph, np.ones(2, kind))
