"""Quantities of a design as text with a unit, in SI: a bare number is never taken for one."""

import math
import re

__all__ = ["UNITS", "parse_quantity", "unit_example"]

_TIME = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_BYTES = {f"{p}B": scale for p, scale in (_DECIMAL | _BINARY).items()}
_RATES = {f"{unit}/s": scale for unit, scale in _BYTES.items()}
_BITS = {f"{p}b/s": scale / 8 for p, scale in _DECIMAL.items()}

UNITS: dict[str, dict[str, float]] = {
    "s": _TIME,
    "B": _BYTES,
    "B/s": _RATES | _BITS | {f"{p}bit/s": scale / 8 for p, scale in _DECIMAL.items()},
    "FLOP/s": {f"{p}FLOP/s": scale for p, scale in _DECIMAL.items()},
    "FLOP": {f"{p}FLOP": scale for p, scale in _DECIMAL.items()},
    "W": {f"{p}W": scale for p, scale in _DECIMAL.items()},
    "1/s": {"1/s": 1.0, "1/min": 1 / 60, "1/h": 1 / 3600, "1/d": 1 / 86400, "Hz": 1.0},
}
"""Accepted units of each SI unit, with their scale."""

_EXAMPLE = {
    "s": "5 us",
    "B": "80 GiB",
    "B/s": "50 GB/s",
    "FLOP/s": "989 TFLOP/s",
    "FLOP": "2 GFLOP",
    "W": "700 W",
    "1/s": "0.0065 1/d",
}
_FORM = re.compile(r"\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S+)\s*")


def parse_quantity(text: object, unit: str) -> float:
    """Read a quantity such as ``"400 Gb/s"`` into SI.

    Parameters
    ----------
    text : object
        What a design file holds at this place.
    unit : str
        SI unit wanted; a key of `UNITS`.

    Returns
    -------
    float
        Finite value of at least 0 in `unit`.

    Raises
    ------
    ValueError
        If it is no text with a number and a unit of this kind; says what would be right.

    Examples
    --------
    >>> parse_quantity("400 Gb/s", "B/s"), parse_quantity("5 min", "s")
    (50000000000.0, 300.0)
    >>> parse_quantity(50, "B/s")
    Traceback (most recent call last):
    ValueError: 50 has no unit; write it as text with one, such as "50 GB/s"
    """
    if not isinstance(text, str):
        said = f"{text!r} has no unit; write it as text with one, such as {_shown(unit)}"
        raise ValueError(said)  # noqa: TRY004 - of all wrong quantities, in one kind of error
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no number with a unit; write it such as {_shown(unit)}")
    scale = UNITS[unit].get(match[2])
    if scale is None:
        known = ", ".join(UNITS[unit])
        raise ValueError(f"{text!r} has unit {match[2]!r}, which is none of {known}")
    value = float(match[1]) * scale
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text!r} must be finite and at least 0")
    return value


def unit_example(unit: str) -> str:
    """Give a quantity of a unit as it may stand in a design file.

    Parameters
    ----------
    unit : str
        A key of `UNITS`.

    Returns
    -------
    str
        Such as ``5 us``.
    """
    return _EXAMPLE[unit]


def _shown(unit: str) -> str:
    return f'"{unit_example(unit)}"'
