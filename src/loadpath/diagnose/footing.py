"""What all figures of stability stand on, computed once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.components import Components, Peers, find_peers, split_components
from loadpath.diagnose.delay import Loaded, load_job, own_work
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.resampling import draw_steps
from loadpath.replay import node_weights_ns

__all__ = ["Footing", "lay_footing"]


@dataclass(frozen=True, slots=True)
class Footing:
    """A job, what its work consists of, its replay, and resampled steps.

    Attributes
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.
    peers : Peers
        Who is compared with whom.
    parts : Components
        What is persistent, and what is noise.
    own : (n_op,) array of bool
        Ops that are a rank's own work.
    loaded : Loaded
        The job as recorded, replayed.
    weights : (n_resample, n_step) array of float64
        Resampled steps.
    """

    job: CoupledJob
    effects: Effects
    peers: Peers
    parts: Components
    own: NDArray[np.bool_]
    loaded: Loaded
    weights: NDArray[np.float64]


def lay_footing(job: CoupledJob, effects: Effects, rng: np.random.Generator) -> Footing:
    """Compute what all figures of stability stand on.

    Parameters
    ----------
    job : CoupledJob
        Coupled job whose replay error is within the gate.
    effects : Effects
        Its nested effects.
    rng : numpy.random.Generator
        Source of the resamples.

    Returns
    -------
    Footing
        Parts, replay and resamples.
    """
    peers = find_peers(job, effects.is_transfer)
    return Footing(
        job,
        effects,
        peers,
        split_components(job, effects, peers),
        own_work(job, effects.is_transfer),
        load_job(job, node_weights_ns(job.graph, effects.work_ns)),
        draw_steps(job.graph.step.size, rng),
    )
