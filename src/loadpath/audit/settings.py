"""What an audit can be told; all of it is written into the audit."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from loadpath.diagnose.levels import BASELINES, Baseline
from loadpath.errors import UsageError

__all__ = ["Progress", "Settings", "problems_of_time"]

FEWEST_SCREENED = 2
"""A single step has nothing to be compared with."""
Progress = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of an audit.

    Attributes
    ----------
    layout : Path or None
        Layout file of an op table; found beside the table if None.
    hosts : Path or None
        CSV ``rank,host[,rack,switch]``.
    ranks : tuple of str
        Ranks of traces that do not say theirs: ``FILE=RANK``, or a CSV with the columns
        ``file,rank``.
    cache : bool
        Keep parsed traces, and finished audits of large jobs, for the next audit of the same
        files; changes no result, and is not written into the audit.
    rate : float or None
        Price of a GPU-hour, in `currency`.
    currency : str
        Currency of `rate`.
    work_per_step : float or None
        Units of work (tokens, samples) in a step.
    baseline : {"median", "mean", "best"}
        Ideal of attribution and slowdown.
    gate : float
        Largest median replay error with which conclusions are drawn.
    bound : float
        By how much a step may be longer: than the ideal one in the failure envelope, than the
        recorded one in the reserves; at a fixed price that bounds its cost as well.
    steps : int or None
        How many steps of an op table to look at, spread evenly, at least 2; all if None.
    as_of : str
        Time of creation to write down, as ISO 8601 has it; empty for none.
    seed : int
        Seed of permutations and resamples, and of the noise of a simulation.
    loggops : str
        Costs of messages in a simulation, such as ``L=1000,G=0.04``; see `LogGOPS`.
    noise : str
        Noise of a simulation, as ``loadpath simulate --noise`` takes it.
    """

    layout: Path | None = None
    hosts: Path | None = None
    ranks: tuple[str, ...] = ()
    cache: bool = True
    rate: float | None = None
    currency: str = "USD"
    work_per_step: float | None = None
    baseline: Baseline = "median"
    gate: float = 0.03
    bound: float = 0.05
    steps: int | None = None
    as_of: str = ""
    seed: int = 0
    loggops: str = ""
    noise: str = ""

    def __post_init__(self) -> None:
        problems = []
        if self.baseline not in BASELINES:
            problems.append(f"baseline {self.baseline!r} is not one of {', '.join(BASELINES)}")
        if not 0 < self.gate < 1:
            problems.append(f"gate {self.gate} is not between 0 and 1")
        for name in ("rate", "work_per_step", "bound"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                problems.append(f"{name} {value} is not a positive number")
        if self.steps is not None and self.steps < FEWEST_SCREENED:
            problems.append(f"steps {self.steps} is less than {FEWEST_SCREENED}")
        if self.currency != "USD" and self.rate is None:
            problems.append(f"currency {self.currency} is given without a rate")
        if self.seed < 0:
            problems.append(f"seed {self.seed} is negative")
        problems += problems_of_time(self.as_of)
        if problems:
            raise UsageError(f"{'; '.join(problems)}. See loadpath audit --help.")

    def as_arguments(self) -> list[str]:
        """Write the options that differ from the default as command-line arguments.

        Returns
        -------
        list of str
            Files by name, without folders.
        """
        words: list[str] = []
        for item in fields(self):
            value: Any = getattr(self, item.name)
            if value == item.default or item.name == "cache":
                continue
            for one in value if isinstance(value, tuple) else (value,):
                is_file = isinstance(one, Path) or item.name == "ranks"
                shown = Path(one).name if is_file else _without_folder(str(one))
                words += [f"--{item.name.replace('_', '-')}", shown]
        return words


def problems_of_time(as_of: str) -> list[str]:
    """Say what is wrong with a time of creation.

    Parameters
    ----------
    as_of : str
        As the user gave it; empty for none.

    Returns
    -------
    list of str
        Empty for a day, or a day and a time, in the form of ISO 8601.

    Examples
    --------
    >>> problems_of_time("2026-01-02T03:04:05+01:00"), problems_of_time("")
    ([], [])
    >>> problems_of_time("02.01.2026")
    ["as-of '02.01.2026' is no time as ISO 8601 has it, such as 2026-01-02 or 2026-01-02T03:04:05Z"]
    """
    try:
        datetime.fromisoformat(as_of or "2026-01-02")
    except ValueError:
        such = "such as 2026-01-02 or 2026-01-02T03:04:05Z"
        return [f"as-of {as_of!r} is no time as ISO 8601 has it, {such}"]
    return []


def _without_folder(value: str) -> str:
    """Name the file of a noise without its folder; other values hold no slash that ends one."""
    form, colon, rest = value.partition(":")
    return form + colon + Path(rest).name if colon and rest else value
