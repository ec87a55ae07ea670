r"""Noise gain: seconds of step for each second of one rank's own noise.

In a bulk-synchronous job of n ranks it is the expected maximum of n draws in standard deviations:
1.77 for 16 ranks of Gaussian noise, and growing with n; a structure of slack has less, one of
many synchronisations a step has more.
"""

from collections.abc import Callable, Iterator

import numpy as np

from loadpath.diagnose.components import FEWEST_STEPS
from loadpath.diagnose.emergence import Losses
from loadpath.diagnose.footing import Footing
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.noise_model import NoiseModel
from loadpath.diagnose.resampling import Estimate, resample, spread
from loadpath.diagnose.stability_row import NOTHING, Row, row
from loadpath.replay import node_weights_ns, replay_weights, step_time_ns
from loadpath.replay.noise import Quiet, replay_noise

__all__ = [
    "FEW_STEPS",
    "draw_steps_under_noise",
    "independent_row",
    "noise_doubt",
    "noise_rows",
    "rank_noise_s",
]

FEW_STEPS = f"not assessed: under {FEWEST_STEPS} steps slow parts cannot be told from noise"
MISSES = "not assessed: the noise model misses the recorded mean step by more than the gate"
NO_NOISE = "not assessed: no rank's work has noise of its own"
WANTED = 2048
"""Steps under noise that a figure rests on."""
MOST_SCENARIOS, BLOCK = 256, 32
LEAST_S = 1e-9
"""Noise under the resolution of the clock is none."""


def rank_noise_s(model: NoiseModel) -> float:
    """Typical standard deviation over steps of what one rank's own work has alone.

    What ranks have in common in a step is no noise between them: it is taken out.

    Parameters
    ----------
    model : NoiseModel
        Noise of the job.

    Returns
    -------
    float
        Root mean square over ranks, in s; 0 with fewer than two steps to tell it.
    """
    if model.rank_s.shape[1] < 2:
        return 0.0
    return float(np.sqrt(_own_squares(model.rank_s).mean()))


def _own_squares(rank_s: FloatArray) -> FloatArray:
    """Square of one rank's own noise in each step, without bias where ranks are independent."""
    n_rank, n_step = rank_s.shape
    off = rank_s - rank_s.mean(axis=1, keepdims=True)
    off = off - off.mean(axis=0)
    return np.asarray((off**2).sum(axis=0) / max(1, n_rank - 1) * n_step / (n_step - 1))


def draw_steps_under_noise(
    footing: Footing,
    model: NoiseModel,
    delta_ns: FloatArray | float,
    rng: np.random.Generator,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[FloatArray, FloatArray]:
    """Replay the job under its own noise.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    model : NoiseModel
        Noise of the job.
    delta_ns : (n_node,) array of float64, or 0
        What a load adds to each node.
    rng : numpy.random.Generator
        Source of the draws.
    progress : callable of str
        Told what is being done.

    Returns
    -------
    quiet_s : (n_step,) array of float64
        Steps without noise.
    noisy_s : (n_step, n_scenario) array of float64
        Steps under noise.
    """
    graph = footing.job.graph
    weight = node_weights_ns(graph, model.base_ns).astype(np.float64)
    weight[1:] += delta_ns
    timeline = replay_weights(graph, weight, np.empty_like(weight))
    blocks = -(-WANTED // (BLOCK * max(1, graph.step.size)))
    drawn = replay_noise(
        Quiet(graph, timeline, model.base_ns),
        model.noise,
        rng,
        n_scenario=min(MOST_SCENARIOS, BLOCK * blocks),
        progress=progress,
    )
    quiet_s = np.asarray(step_time_ns(graph, timeline) / 1e9, np.float64)
    return quiet_s, drawn / 1e9


def noise_doubt(losses: Losses, model: NoiseModel, noisy_s: FloatArray, *, gate: float) -> str:
    """Say why noise that is drawn again for each rank tells no gain.

    Parameters
    ----------
    losses : Losses
        Step times as causes are taken out.
    model : NoiseModel
        Noise of the job.
    noisy_s : (n_step, n_scenario) array of float64
        Steps under noise, without load.
    gate : float
        Largest error of the modelled mean step with which it is believed.

    Returns
    -------
    str
        Basis of a gain that is not assessed; empty if there is no doubt.
    """
    if losses.recorded_s.size < FEWEST_STEPS:
        return FEW_STEPS
    if _model_error(losses, noisy_s) > gate:
        return MISSES
    return NO_NOISE if rank_noise_s(model) < LEAST_S else ""


def noise_rows(
    footing: Footing,
    losses: Losses,
    model: NoiseModel,
    steps: tuple[FloatArray, FloatArray],
    *,
    gate: float,
) -> Iterator[Row]:
    """Give the noise gain of the recorded steps, and that of independent ranks.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    losses : Losses
        Step times as causes are taken out.
    model : NoiseModel
        Noise of the job.
    steps : tuple of array
        Result of `draw_steps_under_noise` without load.
    gate : float
        Largest error of the modelled mean step with which it is believed.

    Yields
    ------
    Row
        Rows of table `STABILITY`.
    """
    noisy_s = steps[1]
    error = _model_error(losses, noisy_s)
    yield row("noise_model_error_ratio", Estimate(error, *NOTHING[1:]), basis="modelled")
    yield _recorded_gain(footing, losses, model)
    doubt = noise_doubt(losses, model, noisy_s, gate=gate)
    yield (
        row("noise_gain_independent", NOTHING, basis=doubt)
        if doubt
        else independent_row(model, steps)
    )
    if error > gate:
        return
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        value = Estimate(float(np.quantile(noisy_s, share)), *NOTHING[1:])
        basis = f"modelled: {model.method}"
        yield row("step_under_noise", value, by="quantile", key=name, unit="s", basis=basis)


def independent_row(model: NoiseModel, steps: tuple[FloatArray, FloatArray]) -> Row:
    """Give the gain of noise that is drawn for each rank apart, with its Monte Carlo error alone.

    Parameters
    ----------
    model : NoiseModel
        Noise of the job, of which there is some.
    steps : tuple of array
        Result of `draw_steps_under_noise`.

    Returns
    -------
    Row
        Row ``noise_gain_independent``.
    """
    quiet_s, noisy_s = steps
    lost = (noisy_s - quiet_s[:, None]).mean(axis=0) / rank_noise_s(model)
    margin = 1.96 * float(lost.std(ddof=1)) / np.sqrt(lost.size)
    value = float(lost.mean())
    gain = Estimate(value, value - margin, value + margin)
    return row("noise_gain_independent", gain, basis=f"modelled: {model.method}")


def _model_error(losses: Losses, noisy_s: FloatArray) -> float:
    recorded = float(losses.alike_s.mean())
    return abs(float(noisy_s.mean()) / recorded - 1) if recorded > 0 else float("inf")


def _recorded_gain(footing: Footing, losses: Losses, model: NoiseModel) -> Row:
    """Gain of the recorded steps' own noise, with what their ranks have in common."""
    rank_s = rank_noise_s(model)
    if losses.recorded_s.size < FEWEST_STEPS:
        return row("noise_gain", NOTHING, basis=FEW_STEPS)
    if rank_s < LEAST_S:
        return row("noise_gain", NOTHING, basis=NO_NOISE)
    n_step = losses.emergent_s.size
    square = _own_squares(model.rank_s)
    lost, noise = (resample(footing.weights, part) for part in (losses.emergent_s, square))
    known = noise > 0
    drawn = lost[known] / n_step / np.sqrt(noise[known] / n_step)
    value = float(losses.emergent_s.mean()) / rank_s
    return row("noise_gain", Estimate(value, *spread(drawn)))
