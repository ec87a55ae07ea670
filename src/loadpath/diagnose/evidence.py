"""All tests of whether a unit's excess is more than chance, as one p-value."""

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.dominance import any_of, dominance_p_values
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.significance import Cells, exchange_p_values
from loadpath.diagnose.step_noise import design_effect, step_noise_p_values

__all__ = ["unit_p_values"]


def unit_p_values(
    cells: Cells,
    scale: FloatArray,
    peers: NDArray[np.int64],
    *,
    by_step_s: FloatArray,
    rng: np.random.Generator,
    is_heavy: bool = False,
) -> FloatArray:
    """Test units against shuffles, against one another in every step, and against noise of steps.

    Parameters
    ----------
    cells : Cells
        Excess of each unit in each block.
    scale : (n_unit,) array of float64
        What makes the excess of units of unlike work comparable.
    peers : (n_unit,) array of int64
        Group of units that do the same work. The error of a group's level is common to its units; it
        must not make all of them look slow.
    by_step_s : (n_unit, n_step) array of float64
        Excess of each unit in each step, in s.
    rng : numpy.random.Generator
        Source of the shuffles.
    is_heavy : bool
        The noise is rare and heavy, as that of hosts is: a step without it says nothing of the
        next one, so no unit is held against the noise of steps, and no variance is compared.

    Returns
    -------
    (n_unit,) array of float64
        Family-wise p-values.
    """
    excess = cells.excess_s * scale[:, None]
    inflation = 1.0 if is_heavy else design_effect(excess, cells.step)
    by_chance = exchange_p_values(excess, rng, peers=peers, inflation=inflation)
    dominance = dominance_p_values(by_step_s)
    if is_heavy:
        return any_of(by_chance, dominance)
    return any_of(by_chance, dominance, step_noise_p_values(excess, cells.step, peers))
