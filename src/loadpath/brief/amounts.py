"""Amounts of a forecast as text: sizes, durations, power, cost of work."""

import math
from collections.abc import Mapping
from typing import Any

from loadpath.brief.grid import Cell
from loadpath.units import format_ratio, format_seconds

__all__ = [
    "added",
    "amount",
    "cost_scale",
    "cost_words",
    "duration",
    "faster",
    "large",
    "plural",
    "power",
    "rounded",
    "to_add",
    "whole",
    "within",
]

Document = Mapping[str, Any]
_SCALES = ((1, ""), (1e3, "thousand "), (1e6, "million "), (1e9, "billion "), (1e12, "trillion "))
_DAY_S, _HOUR_S = 86_400, 3_600


def added(value: float) -> str:
    """Write a number of accelerators that was interpolated, as added ones.

    Parameters
    ----------
    value : float
        Accelerators.

    Returns
    -------
    str
        Whole ones, three significant digits.

    Examples
    --------
    >>> added(3182.1), added(34.4), added(1.02), added(0.256)
    ('3,180 more accelerators', '34 more accelerators', '1 more accelerator', 'less than one more accelerator')
    """
    n = to_add(value)
    return f"{n} more accelerator{'' if n in {'1', 'less than one'} else 's'}"


def to_add(value: float) -> str:
    """Write how many accelerators would have to be added, which was interpolated.

    Parameters
    ----------
    value : float
        Accelerators.

    Returns
    -------
    str
        Whole ones, three significant digits.

    Examples
    --------
    >>> to_add(3182.1), to_add(7.9), to_add(0.256)
    ('3,180', '8', 'less than one')
    """
    if value < 1:
        return "less than one"
    return rounded(round(value)) if value >= 100 else f"{value:.0f}"


def whole(value: float) -> str:
    """Write a number of accelerators that was interpolated: how many there are up to it.

    Parameters
    ----------
    value : float
        Accelerators.

    Returns
    -------
    str
        Whole ones, from 1,000 on three significant digits.

    Examples
    --------
    >>> whole(1.11), whole(34.9), whole(3182.1)
    ('1', '34', '3,180')
    """
    return rounded(value) if value >= 1000 else f"{math.floor(value)}"


def faster(ratio: float) -> str:
    """Say how much sooner a job ends, by what of its speed it gains.

    Parameters
    ----------
    ratio : float
        Gain of speed over the present one.

    Returns
    -------
    str
        In percent, from twice as fast on in times.

    Examples
    --------
    >>> faster(0.241), faster(1.672)
    ('24.1 % faster', '2.67 times as fast')
    """
    if ratio >= 1:
        return f"{rounded(1 + ratio)} times as fast"
    return f"{format_ratio(ratio)} faster"


def within(ratio: float) -> str:
    """Write a largest error, rounded up.

    Parameters
    ----------
    ratio : float
        Error over what was measured.

    Returns
    -------
    str
        In percent; never less than it is.

    Examples
    --------
    >>> within(0.00032), within(0.0021)
    ('0.1 %', '0.3 %')
    """
    return format_ratio(math.ceil(1000 * ratio) / 1000)


def rounded(value: float) -> str:
    """Write a number with three significant digits.

    Parameters
    ----------
    value : float
        Any.

    Returns
    -------
    str
        With separators of thousands.

    Examples
    --------
    >>> rounded(3182.1), rounded(0.012345), rounded(1.0)
    ('3,180', '0.0123', '1.00')
    """
    if value == 0:
        return "0"
    text = f"{float(f'{value:.3g}'):,.10f}" if abs(value) < 1e6 else f"{float(f'{value:.3g}'):,.0f}"
    digits = max(0, 2 - _power(value))
    return f"{float(text.replace(',', '')):,.{digits}f}"


def _power(value: float) -> int:
    return int(f"{value:.2e}".rpartition("e")[2])


def large(value: float) -> str:
    """Write a large number with a word for its size.

    Parameters
    ----------
    value : float
        At least 0.

    Returns
    -------
    str
        Three significant digits.

    Examples
    --------
    >>> large(526_000), large(3.47e6), large(1.894e12)
    ('526,000', '3.47 million', '1.89 trillion')
    """
    for scale, word in reversed(_SCALES[2:]):
        if value >= scale:
            return f"{rounded(value / scale)} {word.strip()}"
    return rounded(value)


def duration(seconds: float) -> str:
    """Write the length of a job.

    Parameters
    ----------
    seconds : float
        Time in s.

    Returns
    -------
    str
        In days, hours, or as `format_seconds` does.

    Examples
    --------
    >>> duration(598074), duration(7200), duration(12.0)
    ('6.92 days', '2.00 h', '12.0 s')
    """
    if seconds >= _DAY_S:
        return f"{rounded(seconds / _DAY_S)} days"
    return f"{rounded(seconds / _HOUR_S)} h" if seconds >= _HOUR_S else format_seconds(seconds)


def power(watts: float) -> str:
    """Write a power.

    Parameters
    ----------
    watts : float
        Power in W.

    Returns
    -------
    str
        In W, kW or MW.

    Examples
    --------
    >>> power(850668.0), power(52.0)
    ('851 kW', '52.0 W')
    """
    for scale, unit in ((1e6, "MW"), (1e3, "kW")):
        if watts >= scale:
            return f"{rounded(watts / scale)} {unit}"
    return f"{rounded(watts)} W"


def cost_scale(document: Document) -> tuple[float, str]:
    """Choose for how many units of work costs are told.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.

    Returns
    -------
    scale : float
        Units of work.
    words : str
        Such as ``USD per million tokens``.
    """
    name = document["cost"]
    costs = [point[name]["median"] for point in document["points"]]
    what = document["currency"] if name == "cost_per_unit" else "accelerator-seconds"
    return cost_words(costs, what, document["unit"])


def cost_words(costs: list[float], what: str, unit: str) -> tuple[float, str]:
    """Choose for how many units of work some costs are told.

    Parameters
    ----------
    costs : list of float
        Of one unit.
    what : str
        Currency, or what else is paid.
    unit : str
        Such as token.

    Returns
    -------
    scale : float
        Units of work.
    words : str
        What, and per how many of them.

    Examples
    --------
    >>> cost_words([1.3e-6, 2e-6], "USD", "token")
    (1000000.0, 'USD per million tokens')
    """
    scale, said = next(((s, w) for s, w in _SCALES if s * min(costs) >= 0.1), _SCALES[-1])
    return float(scale), f"{what} per {said}{plural(unit) if scale > 1 else unit}"


def plural(unit: str) -> str:
    """Name several units of work.

    Parameters
    ----------
    unit : str
        Such as token.

    Returns
    -------
    str
        Several of them.

    Examples
    --------
    >>> plural("token"), plural("microbatch")
    ('tokens', 'microbatches')
    """
    return f"{unit}es" if unit.endswith("ch") else f"{unit}s"


def amount(value: float, scale: float) -> Cell:
    """Show a cost of a unit for as many units as the scale says.

    Parameters
    ----------
    value : float
        Cost of one unit.
    scale : float
        Units.

    Returns
    -------
    Cell
        The exact number is that of one unit.
    """
    return Cell(rounded(value * scale), value)
