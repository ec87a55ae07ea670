"""Named priors: what stands for what a design leaves open, each with a spread and a source."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from msgspec import Struct, convert

__all__ = ["Prior", "assume", "shipped_priors"]


class Prior(Struct, frozen=True, kw_only=True):
    """A value that no input of this design measured.

    Attributes
    ----------
    name : str
        Key under which a design's table ``[priors]`` may set it.
    value, low, high : float
        Value, and where it lies in some nine cases of ten.
    unit : str
        Of the three.
    about, source : str
        What it is, and where value and spread are from.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    about: str
    source: str


@cache
def shipped_priors() -> Mapping[str, Prior]:
    """Read the priors that come with loadpath.

    Returns
    -------
    mapping of str to Prior
        By name, in the order of the file.

    Examples
    --------
    >>> shipped_priors()["launch"].value
    5e-06
    """
    text = files("loadpath.forecast").joinpath("data/priors.toml").read_text(encoding="utf-8")
    priors = {}
    for name, entry in tomllib.loads(text).items():
        value, low, high = entry.pop("value")
        fields = {"name": name, "value": value, "low": low, "high": high, **entry}
        priors[name] = convert(fields, Prior)
    return priors


def assume(
    given: Mapping[str, float], measured: Mapping[str, tuple[float, float, float, str]]
) -> dict[str, Prior]:
    """Choose each prior: what the design gives, else what the device has, else what is shipped.

    Parameters
    ----------
    given : mapping of str to float
        Table ``[priors]`` of a design; such a value has no spread.
    measured : mapping of str to (value, low, high, source)
        What the data of the device say.

    Returns
    -------
    dict of str to Prior
        By name.

    Examples
    --------
    >>> assume({"launch": 3e-6}, {})["launch"].source
    'given by the design'
    """
    chosen = dict(shipped_priors())
    for name, (value, low, high, source) in measured.items():
        chosen[name] = _replaced(chosen[name], (value, low, high), source)
    for name, value in given.items():
        chosen[name] = _replaced(chosen[name], (value, value, value), "given by the design")
    return chosen


def _replaced(prior: Prior, values: tuple[float, float, float], source: str) -> Prior:
    value, low, high = values
    return Prior(
        name=prior.name,
        value=value,
        low=low,
        high=high,
        unit=prior.unit,
        about=prior.about,
        source=source,
    )
