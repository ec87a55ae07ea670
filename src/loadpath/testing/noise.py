"""Random durations and lags of a synthetic job, the same with and without its cause."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.testing.program import Program
from loadpath.testing.shape import Shape

__all__ = ["Draws", "draw_noise", "noisy_durations", "noisy_program"]

HOST_NOISE, LAG_NOISE = 0.3, 0.5
"""Coefficients of variation of host calls and of lags in a noisy job."""

HOST_KINDS = ("host", "ask", "launch", "launch-batch", "await", "input", "sync")


@dataclass(frozen=True, slots=True)
class Draws:
    """Standard normal numbers of a job.

    Attributes
    ----------
    task : (n_task,) array of float
        One per task; members of a communication share theirs.
    edge : (n_edge,) array of float
        One per edge.
    """

    task: NDArray[np.float64]
    edge: NDArray[np.float64]


def draw_noise(program: Program, rng: np.random.Generator) -> Draws:
    """Draw the noise of a program.

    Parameters
    ----------
    program : Program
        The job.
    rng : numpy.random.Generator
        Source.

    Returns
    -------
    Draws
        Its noise.
    """
    normal = rng.standard_normal(program.task.height)
    keys, first, inverse = np.unique(
        program.task["group"].to_numpy(), return_index=True, return_inverse=True
    )
    shared = normal[first][inverse]
    alone = (keys == "")[inverse]
    return Draws(np.where(alone, normal, shared), rng.standard_normal(len(program.edge)))


def noisy_durations(
    shape: Shape, program: Program, draws: Draws, noise: float
) -> NDArray[np.float64]:
    """Spread mean durations by a noise of coefficient of variation `noise`.

    Parameters
    ----------
    shape : Shape
        Law of the noise; a job without noise has no host noise either.
    program : Program
        The job.
    draws : Draws
        Its random numbers.
    noise : float
        Coefficient of variation on device and network.

    Returns
    -------
    (n_task,) array of float
        Durations in ns.
    """
    on_host = program.task["kind"].is_in(HOST_KINDS).to_numpy()
    host = max(noise, HOST_NOISE) if shape.noise > 0 else noise
    variation = np.where(on_host, host, noise)
    return program.task["work_ns"].to_numpy() * _factor(shape.noise_law, draws.task, variation)


def noisy_program(shape: Shape, program: Program, draws: Draws) -> Program:
    """Spread the lags of a program.

    Parameters
    ----------
    shape : Shape
        A job without noise has constant lags.
    program : Program
        The job.
    draws : Draws
        Its random numbers.

    Returns
    -------
    Program
        The same tasks, other lags.
    """
    variation = np.full(draws.edge.size, LAG_NOISE if shape.noise > 0 else 0.0)
    lag = program.edge[:, 2] * _factor("lognormal", draws.edge, variation)
    edge = np.column_stack([program.edge[:, :2], np.rint(lag).astype(np.int64)])
    return Program(program.task, edge, program.wait)


def _factor(
    law: str, normal: NDArray[np.float64], variation: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Positive factors of mean 1; the gamma law by the approximation of Wilson and Hilferty.
    if law == "gamma":
        third = variation**2 / 9.0
        return np.maximum(1.0 - third + normal * np.sqrt(third), 1e-3) ** 3
    sigma = np.sqrt(np.log1p(variation**2))
    return np.exp(sigma * normal - sigma**2 / 2.0)
