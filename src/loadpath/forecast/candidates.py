"""What is compared: a design in its worlds, or a job without one, at its own size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.forecast.advice import PILOT_STEPS, pilot_spread
from loadpath.forecast.design import Design
from loadpath.forecast.known_advice import priced_of_job
from loadpath.forecast.known_job import KnownJob
from loadpath.forecast.options import LEVEL
from loadpath.forecast.outlook import Outlook, look_ahead, priced_of
from loadpath.forecast.priors import Prior
from loadpath.forecast.sizes import default_sizes, goal_of, split_sizes
from loadpath.forecast.step_point import design_priors
from loadpath.forecast.worlds import band_of

__all__ = ["Candidate", "PilotRun", "candidate_of_design", "candidate_of_job"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PilotRun:
    """A run on fewer accelerators that could be made before choosing.

    Attributes
    ----------
    n : int
        Its accelerators.
    shown : ndarray of float, shape (n_world,)
        Logarithm of the step it would show in each world.
    spread : float
        Standard deviation of the noise of its mean step's logarithm.
    """

    n: int
    shown: Array
    spread: float

    @property
    def accelerator_h(self) -> float:
        """Accelerator-hours that its steps take, at the median."""
        return self.n * PILOT_STEPS * float(np.exp(np.median(self.shown))) / 3600


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to choose from.

    Attributes
    ----------
    name : str
        How the comparison calls it.
    kind : str
        ``training``, ``serving``, ``stencil``, ``recorded`` or ``traced``.
    unit : str
        What its work is counted in.
    per_microbatch : float or None
        Units of work in one microbatch; None where it has none.
    priced : mapping of str to ndarray of float, shape (n_world,)
        Every quantity at its own size, in every world.
    priors : mapping of str to Prior
        What stands for what is not known of it.
    currency : str or None
        Of its prices.
    told : mapping of str to Any
        What the comparison says of it besides its cost: ``basis``, ``device``, ``n`` and what it does.
    pilot : PilotRun or None
        None where it ran already, or cannot be smaller.
    """

    name: str
    kind: str
    unit: str
    per_microbatch: float | None
    priced: Mapping[str, Array]
    priors: Mapping[str, Prior]
    currency: str | None
    told: Mapping[str, Any]
    pilot: PilotRun | None


def candidate_of_design(
    name: str, design: Design, worlds: tuple[int, int], pilot: int | None = None
) -> Candidate:
    """Replay a design at its own size, and at that of a pilot.

    Parameters
    ----------
    name : str
        How the comparison calls it.
    design : Design
        A sound design.
    worlds : (int, int)
        Seed of the worlds, which all candidates share, and how many.
    pilot : int, optional
        Accelerators of a pilot run; the fewest that the design can have, if left out.

    Returns
    -------
    Candidate
        Modelled.
    """
    own = design.cluster.accelerators
    smaller = [n for n in default_sizes(design) if n < own] if pilot is None else [pilot]
    sized, _ = split_sizes(design, [n for n in smaller if n < own], goal_of(design))
    first = [next(iter(sized.values()))] if sized else []
    outlook = look_ahead((*first, design), design_priors(design), design, worlds=worlds)
    everywhere = priced_of(outlook)
    tariff, batch, model = outlook.tariff, design.batch, design.model
    tokens = None
    if batch is not None and model is not None and design.serving is None:
        tokens = float(batch.microbatch * model.sequence)
    return Candidate(
        name=name,
        kind=_kind(design),
        unit="cell" if design.stencil is not None else "token",
        per_microbatch=tokens,
        priced={key: values[:, -1] for key, values in everywhere.items()},
        priors=outlook.priors,
        currency=None if tariff is None else tariff.currency,
        told=_of_outlook(design, outlook, everywhere),
        pilot=PilotRun(
            int(outlook.curve.n[0]), np.log(outlook.curve.step_s[:, 0]), pilot_spread(outlook)
        )
        if first
        else None,
    )


def candidate_of_job(name: str, job: KnownJob) -> Candidate:
    """Take a job without a design at its present size.

    Parameters
    ----------
    name : str
        How the comparison calls it.
    job : KnownJob
        Of a record.

    Returns
    -------
    Candidate
        Replayed; it ran already, so that a smaller run would tell nothing more.
    """
    now = job.now
    priced = {key: values[:, now] for key, values in priced_of_job(job).items()}
    told = {
        "basis": "replayed", "device": None, "n": int(job.curve.n[now]), "mfu_ratio": None,
        "fits_memory": None,
    }  # fmt: skip
    return Candidate(
        name=name,
        kind="recorded" if job.unit == "microbatch" else "traced",
        unit=job.unit,
        per_microbatch=1.0 if job.unit == "microbatch" else None,
        priced=priced,
        priors=job.priors,
        currency=None if job.tariff is None else job.tariff.currency,
        told=told | _running(priced, float(job.curve.work[now])),
        pilot=None,
    )


def _kind(design: Design) -> str:
    if design.serving is not None:
        return "serving"
    return "training" if design.stencil is None else "stencil"


def _of_outlook(
    design: Design, outlook: Outlook, everywhere: Mapping[str, Array]
) -> dict[str, Any]:
    point, forecast = outlook.points[-1], outlook.forecasts[-1]
    return {
        "basis": "modelled",
        "device": design.cluster.device,
        "n": design.cluster.accelerators,
        "mfu_ratio": forecast.mfu_ratio * forecast.step_s / point.step_s,
        "fits_memory": forecast.fits_memory,
    } | _running({key: values[:, -1] for key, values in everywhere.items()}, point.work)


def _running(priced: Mapping[str, Array], work: float) -> dict[str, Any]:
    step, job = band_of(priced["step_s"], LEVEL), priced.get("job_s")
    return {
        "step_s": step._asdict(),
        "tokens_per_s": work / step.median,
        "ettr_ratio": float(np.median(priced["ettr_ratio"])),
        "job_s": None if job is None else float(np.median(job)),
    }
