"""What a forecast can be told; all of it is written into the forecast."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, get_args

from loadpath.audit.settings import problems_of_time
from loadpath.errors import UsageError
from loadpath.forecast.search import Objective
from loadpath.forecast.sizes import Goal

__all__ = ["ForecastSettings", "Options", "settings_of"]

NEEDS = {
    "within": ("search", "bounds a search"),
    "objective": ("search", "is that of a search"),
    "iterations": ("requests", "set how requests are served"),
    "ttft": ("requests", "is promised to requests"),
    "tpot": ("requests", "is promised to requests"),
    "currency": ("rate", "is that of a rate"),
    "samples": ("goal strong", "are shared by strong scaling alone"),
}
"""Options that say more of another one: which, and what they say."""


class Options(TypedDict, total=False):
    """Options as given from Python, by name."""

    sizes: str | Sequence[int]
    calibrate: str | Path | None
    points: str | Path | None
    goal: str | None
    seed: int
    worlds: int
    value: float | None
    budget: float | None
    as_of: str
    rate: float | None
    currency: str
    layout: str | Path | None
    tensor: int | None
    pipeline: int | None
    data_parallel: bool
    samples: int | None
    collectives: Sequence[str | Path]
    search: bool
    objective: Objective
    within: str
    requests: str | Path | None
    iterations: str | Path | None
    ttft: float
    tpot: float


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """What a forecast can be told; all of it is written into the forecast.

    Attributes
    ----------
    sizes : str
        Accelerators, such as ``512,1024`` or ``64:16384``; around those of the design if empty.
    calibrate, points : Path or None
        Measured runs (CSV) that set priors, and those that forecasts and baselines are held against.
    goal : {"strong", "weak"} or None
        Whether the work of a step stays or grows with the size; as the design says if None.
    seed, worlds : int
        Of the sampled worlds.
    value, budget : float or None
        What a unit of work is worth, and what it may cost.
    as_of : str
        Time of creation to write down; empty for none.
    rate : float or None, and currency : str
        Price of an accelerator-hour, where no design says it.
    layout : Path or None
        Layout of an op table, as of an audit.
    tensor, pipeline : int or None
        Width and stages, in place of those of the design or the record.
    data_parallel : bool
        Whether all ranks of traces are replicas of one model, where process groups do not tell.
    samples : int or None
        Of a recorded step of traces, all replicas together: what replicas can share.
    collectives : tuple of Path
        Measured collectives (nccl-tests) that set links.
    search : bool
        Whether layouts of the design are searched, sorted by ``objective``, within the bounds ``within``.
    requests : Path or None
        Recorded requests that a served design is to answer, with a first token within ``ttft`` s and others
        every ``tpot`` s.
    iterations : Path or None
        Measured iterations (CSV) that set how long those of the design take, width by width.
    """

    sizes: str = ""
    calibrate: Path | None = None
    points: Path | None = None
    goal: Goal | None = None
    seed: int = 0
    worlds: int = 512
    value: float | None = None
    budget: float | None = None
    as_of: str = ""
    rate: float | None = None
    currency: str = "USD"
    layout: Path | None = None
    tensor: int | None = None
    pipeline: int | None = None
    data_parallel: bool = False
    samples: int | None = None
    collectives: tuple[Path, ...] = ()
    search: bool = False
    objective: Objective = "cost_per_unit"
    within: str = ""
    requests: Path | None = None
    iterations: Path | None = None
    ttft: float = 1.0
    tpot: float = 0.1

    def __post_init__(self) -> None:
        problems = []
        if self.goal not in {None, "strong", "weak"}:
            problems.append(f"goal {self.goal!r} is not strong or weak")
        if self.seed < 0:
            problems.append(f"seed {self.seed} is negative")
        if not 16 <= self.worlds <= 100_000:
            problems.append(f"worlds {self.worlds} is not from 16 to 100,000")
        for name in ("value", "budget", "rate", "tensor", "pipeline", "samples", "ttft", "tpot"):
            amount = getattr(self, name)
            if amount is not None and not 0 < amount < float("inf"):
                problems.append(f"{name} {amount} is not a positive number")
        if self.objective not in get_args(Objective):
            problems.append(
                f"objective {self.objective!r} is none of {', '.join(get_args(Objective))}"
            )
        problems += [*self._idle(), *problems_of_time(self.as_of)]
        if problems:
            raise UsageError(f"{'; '.join(problems)}. See loadpath forecast --help.")

    def _idle(self) -> list[str]:
        """Name options that would do nothing without another one that is not given."""
        asked = {"search": self.search, "requests": self.requests, "rate": self.rate}
        asked["goal strong"] = self.goal == "strong"
        return [
            f"--{name} {what}: give --{needed}"
            for name, (needed, what) in NEEDS.items()
            if not asked[needed] and getattr(self, name) != self.__dataclass_fields__[name].default
        ]

    def given(self) -> list[str]:
        """Name the options that differ from the default.

        Returns
        -------
        list of str
            Fields, in their order.
        """
        known = self.__dataclass_fields__
        return [name for name, field in known.items() if getattr(self, name) != field.default]

    def as_arguments(self) -> list[str]:
        """Write the options that differ from the default as command-line arguments.

        Returns
        -------
        list of str
            Files by name, without folders.
        """
        words = []
        for name in self.given():
            value = getattr(self, name)
            option = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                words.append(option)
            else:
                each = value if isinstance(value, tuple) else (value,)
                words += [word for one in each for word in (option, _shown(one))]
        return words


def _shown(value: Any) -> str:
    return value.name if isinstance(value, Path) else str(value)


def settings_of(options: Options) -> ForecastSettings:
    """Read options given from Python.

    Parameters
    ----------
    options : Options
        Sizes also as a list of numbers, files also as text.

    Returns
    -------
    ForecastSettings
        Checked.

    Raises
    ------
    UsageError
        If there is no such option, or a value is wrong.
    """
    values: dict[str, Any] = dict(options)
    sizes = values.get("sizes", "")
    values["sizes"] = sizes if isinstance(sizes, str) else ",".join(str(n) for n in sizes)
    for name in ("calibrate", "points", "layout", "requests", "iterations"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    given = values.get("collectives", ())
    given = (given,) if isinstance(given, (str, Path)) else given
    values["collectives"] = tuple(Path(path) for path in given)
    try:
        return ForecastSettings(**values)
    except TypeError as error:
        known = ", ".join(Options.__annotations__)
        raise UsageError(f"unknown option ({error}). Options are {known}.") from error
