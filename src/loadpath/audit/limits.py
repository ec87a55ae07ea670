"""Tables of what limits a job and how its ranks are coupled; none where nothing is concluded."""

import numpy as np
import polars as pl

from loadpath.audit.settings import Settings
from loadpath.couple import CoupledJob
from loadpath.diagnose.coupling_blocks import coupling_blocks
from loadpath.diagnose.distance import cause_distances, missed_waiting
from loadpath.diagnose.efficiency import efficiencies
from loadpath.diagnose.failure_envelope import failure_envelope
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.limitation import limitations
from loadpath.diagnose.moments import Moments
from loadpath.diagnose.step_sample import StepSample
from loadpath.tables.results import (
    COUPLING_BLOCK,
    COUPLING_GROUP,
    DISTANCE,
    EFFICIENCY,
    FAILURE_ENVELOPE,
    LIMITATION,
    MISSED,
)

__all__ = ["NO_LIMITS", "limit_tables", "waiting_tables"]

NO_LIMITS = (
    *(COUPLING_GROUP, COUPLING_BLOCK, DISTANCE, MISSED),
    *(LIMITATION, EFFICIENCY, FAILURE_ENVELOPE),
)
"""Tables that are empty where no conclusion is drawn."""


def waiting_tables(
    job: CoupledJob, moments: Moments, settings: Settings
) -> dict[str, pl.DataFrame]:
    """Say where and how far away waits are caused, and which ranks wait for each other.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    moments : Moments
        Result of `look_at_moments`.
    settings : Settings
        Seed of the resamples.

    Returns
    -------
    dict
        Tables ``coupling_group``, ``coupling_block``, ``distance`` and ``missed``.
    """
    return {
        "coupling_group": moments.coupling_group,
        "coupling_block": coupling_blocks(job, moments.coupling),
        "distance": cause_distances(moments.told),
        "missed": missed_waiting(moments.missed_ns, _draws(settings)),
    }


def limit_tables(
    job: CoupledJob, sample: StepSample, ideal_ns: FloatArray, settings: Settings
) -> dict[str, pl.DataFrame]:
    """Say what limits a job, how efficient it is, and what it would bear.

    What limits a large job is estimated on some of its steps (`sample_steps`).

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    sample : StepSample
        Steps of it that estimates look at.
    ideal_ns : (n_op,) array of float64
        Work that each op would need, in ns.
    settings : Settings
        Bound and seed.

    Returns
    -------
    dict
        Tables ``limitation``, ``efficiency`` and ``failure_envelope``.
    """
    return {
        "limitation": limitations(sample.job, ideal_ns[sample.op], _draws(settings)),
        "efficiency": efficiencies(job, _draws(settings)),
        "failure_envelope": failure_envelope(
            job, sample, ideal_ns, bound_ratio=settings.bound, rng=_draws(settings)
        ),
    }


def _draws(settings: Settings) -> np.random.Generator:
    """Begin a stream of its own for each table, so that none depends on what others draw."""
    return np.random.default_rng(settings.seed)
