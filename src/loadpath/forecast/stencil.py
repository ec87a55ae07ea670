r"""One step of a bulk-synchronous simulation: inner cells, halo, border cells, reductions.

::

    overhead --- inner ----------- border --- reduction --- ...
             \- halo (network) -/
"""

import numpy as np

from loadpath.couple.graph import EdgeKind
from loadpath.forecast.design import Design, Stencil
from loadpath.forecast.durations import Durations, expected_maximum
from loadpath.forecast.layout import Group, fast_domain
from loadpath.forecast.machine import Machine
from loadpath.forecast.pass_time import transfer
from loadpath.forecast.priors import Prior
from loadpath.forecast.rates import COMPONENTS, FloatArray, Rates
from loadpath.forecast.skeleton import OpKind, small_skeleton

__all__ = ["stencil_durations", "stencil_work"]


def stencil_work(design: Design, stencil: Stencil) -> tuple[float, float]:
    """Give the cells of a step and the operations they need.

    Parameters
    ----------
    design : Design
        Its accelerators.
    stencil : Stencil
        Its grid.

    Returns
    -------
    cells, flop : float
        Of the whole job.
    """
    cells = float(stencil.cells)
    if stencil.scaling == "weak":
        cells *= design.cluster.accelerators
    return cells, cells * stencil.flop_per_cell


def stencil_durations(
    design: Design, stencil: Stencil, machine: Machine, priors: dict[str, Prior]
) -> Durations:
    """Time one step.

    Parameters
    ----------
    design : Design
        Its cluster.
    stencil : Stencil
        Its grid; ranks hold equal cubes (squares, intervals) of it.
    machine : Machine
        What it runs on.
    priors : dict of str to Prior
        Result of `assume`.

    Returns
    -------
    Durations
        One rank for all: they do the same.
    """
    ranks = design.cluster.accelerators
    cells = stencil_work(design, stencil)[0] / ranks
    side = cells ** (1 / stencil.dimensions)
    inner = max(side - 2 * stencil.halo_width, 0.0) ** stencil.dimensions
    if not stencil.overlap_halo:
        inner = 0.0
    table = np.zeros((len(OpKind), 1, 1, len(COMPONENTS)))
    table[OpKind.OVERHEAD, 0, 0, 5] = machine.rates.launch_s
    table[OpKind.FORWARD, 0, 0] = _swept(stencil, inner, machine.rates)
    table[OpKind.BACKWARD, 0, 0] = _swept(stencil, cells - inner, machine.rates)
    if ranks > 1:
        table[OpKind.SEND] = _halo(design, stencil, machine, side)
        group = Group(ranks, min(ranks, fast_domain(design)))
        fabric = machine.fabrics["gradient"]
        table[OpKind.REDUCE] = transfer("all_reduce", stencil.reduction_bytes, group, fabric)
    slowest = 1 + priors["device_spread"].value * expected_maximum(ranks)
    kinds = [OpKind.OVERHEAD, OpKind.FORWARD, OpKind.SEND, OpKind.BACKWARD]
    kinds += [OpKind.REDUCE] * stencil.reductions
    edges = [
        (0, 1, EdgeKind.PROGRAM),
        (0, 2, EdgeKind.CROSS_STREAM),
        (1, 3, EdgeKind.PROGRAM),
        (2, 3, EdgeKind.CROSS_STREAM),
    ]
    edges += [(op, op + 1, EdgeKind.PROGRAM) for op in range(3, len(kinds) - 1)]
    return Durations(small_skeleton(kinds, [0] * len(kinds), edges), table, slowest)


def _swept(stencil: Stencil, cells: float, rates: Rates) -> FloatArray:
    """Time a sweep over cells: by operations or by bytes."""
    worked = cells * stencil.flop_per_cell / rates.flop_per_s[0]
    moved = cells * stencil.bytes_per_cell / rates.memory
    parts = np.zeros(len(COMPONENTS))
    parts[0 if worked >= moved else 1] = max(worked, moved)
    return parts


def _halo(design: Design, stencil: Stencil, machine: Machine, side: float) -> FloatArray:
    """Time the exchange with all neighbours, of which the far ones set the time."""
    face = side ** (stencil.dimensions - 1) * stencil.halo_width
    nbytes = 2 * stencil.dimensions * face * stencil.halo_bytes_per_cell
    inside = design.cluster.accelerators <= fast_domain(design)
    return transfer("send_recv", nbytes, Group(2, 2 if inside else 1), machine.fabrics["stages"])
