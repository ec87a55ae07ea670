"""What happens to a job: noise, failures, checkpoints, evaluation, start-up, prices, power."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from loadpath.forecast.fields import Amount, Count, Frequency, Ratio, Seconds, Watts, Whole

__all__ = [
    "Checkpoint",
    "Convergence",
    "Evaluation",
    "Failures",
    "Noise",
    "Power",
    "Prices",
    "Startup",
]


class Noise(Struct, frozen=True, kw_only=True):
    """How durations scatter.

    Attributes
    ----------
    variation_ratio : float or None
        Coefficient of variation of one rank's step.
    tail : {"normal", "exponential", "pareto"}
        Form of the upper tail.
    tail_shape : float or None
        Index of a Pareto tail.
    slow_ratio, slow_excess_ratio : float or None
        Share of accelerators that are persistently slow, and by how much.
    """

    variation_ratio: Amount | None = None
    tail: Literal["normal", "exponential", "pareto"] = "normal"
    tail_shape: Amount | None = None
    slow_ratio: Ratio | None = None
    slow_excess_ratio: Amount | None = None


class Failures(Struct, frozen=True, kw_only=True):
    """How often and how long the job stands still.

    Attributes
    ----------
    node_rate : float or None
        Failures of one node, in 1/s.
    restart : float or None
        Time from failure to the first new step, in s.
    spares : int
        Nodes held ready.
    """

    node_rate: Frequency | None = None
    restart: Seconds | None = None
    spares: Whole = 0


class Checkpoint(Struct, frozen=True, kw_only=True):
    """Saving the state of the job.

    Attributes
    ----------
    interval : float or None
        Time between two, in s; the best one where None.
    stall : float or None
        How long each one holds the job up, in s.
    """

    interval: Seconds | None = None
    stall: Seconds | None = None


class Convergence(Struct, frozen=True, kw_only=True):
    """Runs to one target with several batches: what a batch does to the steps that are needed.

    Attributes
    ----------
    batches : tuple of int
        Sequences in a step of each run.
    steps : tuple of int
        Steps that it needed.
    """

    batches: tuple[Count, ...]
    steps: tuple[Count, ...]


class Evaluation(Struct, frozen=True, kw_only=True):
    """Evaluation during training.

    Attributes
    ----------
    every_steps : int
        Steps between two.
    sequences : int
        Sequences of one.
    """

    every_steps: Count
    sequences: Count


class Startup(Struct, frozen=True, kw_only=True):
    """What comes before the first step, and how many steps there are.

    Attributes
    ----------
    duration : float or None
        From allocation to the first step, in s.
    steps : int or None
        Steps of the whole job.
    """

    duration: Seconds | None = None
    steps: Count | None = None


class Prices(Struct, frozen=True, kw_only=True):
    """What the machine costs.

    Attributes
    ----------
    accelerator_hour : float
        Rate of one accelerator for one hour, in `currency`.
    accelerator_hour_low, accelerator_hour_high : float or None
        Where the rate lies in some nine cases of ten, while it is not agreed; as stated where None.
    energy_kwh : float
        Price of a kilowatt-hour where power is billed apart; 0 where the rate includes it.
    currency : str
        Code of the currency.
    source, date : str
        Where the rate is from, and of when.
    """

    accelerator_hour: Amount
    accelerator_hour_low: Amount | None = None
    accelerator_hour_high: Amount | None = None
    energy_kwh: Amount = 0.0
    currency: str = "USD"
    source: str = ""
    date: str = ""


class Power(Struct, frozen=True, kw_only=True):
    """What the machine draws.

    Attributes
    ----------
    idle, busy : float or None
        Of one accelerator with its share of the node, in W.
    pue : float or None
        Power of the building over that of the machine.
    """

    idle: Watts | None = None
    busy: Watts | None = None
    pue: Annotated[float, Meta(ge=1)] | None = None
