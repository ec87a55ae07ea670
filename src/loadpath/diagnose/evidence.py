"""All tests of whether a unit's excess is more than chance, as one p-value."""

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.dominance import any_of, dominance_p_values
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.significance import exchange_p_values
from loadpath.diagnose.step_noise import design_effect, step_noise_p_values

__all__ = ["unit_p_values"]


def unit_p_values(
    excess: FloatArray,
    step: NDArray[np.int64],
    by_step_s: FloatArray,
    rng: np.random.Generator,
    *,
    is_heavy: bool = False,
) -> FloatArray:
    """Test units against shuffles, against one another in every step, and against noise of steps.

    Parameters
    ----------
    excess : (n_unit, n_block) array of float64
        Excess of each unit in each block, in comparable units.
    step : (n_block,) array of int64
        Step of each block, ascending from 0.
    by_step_s : (n_unit, n_step) array of float64
        Excess of each unit in each step, in s.
    rng : numpy.random.Generator
        Source of the shuffles.
    is_heavy : bool
        The noise is rare and heavy, as that of hosts is: a step without it says nothing of the
        next one, so no unit is held against the noise of steps.

    Returns
    -------
    (n_unit,) array of float64
        Family-wise p-values.
    """
    by_chance = exchange_p_values(excess, rng, inflation=design_effect(excess, step))
    dominance = dominance_p_values(by_step_s)
    if is_heavy:
        return any_of(by_chance, dominance)
    return any_of(by_chance, dominance, step_noise_p_values(excess, step))
