"""What an hour and a kilowatt-hour cost; money is decimal and has a currency."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import InputError

__all__ = ["Money", "Tariff", "cost_rows", "money", "run_cost"]

CURRENCY = re.compile(r"[A-Z]{3}")
S_PER_H = 3600
J_PER_KWH = 3_600_000
MOST_PER_UNIT = Decimal(1_000_000)
HIGHEST_PUE = Decimal(10)
REMEDY = "Give rates as decimal numbers, the currency as three capital letters (ISO 4217)."


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in one currency.

    Attributes
    ----------
    currency : str
        ISO 4217 code.
    amount : Decimal
        Amount; whole cents are kept where it is rounded.
    """

    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices of a cluster.

    Attributes
    ----------
    currency : str
        ISO 4217 code of all prices.
    rate_per_gpu_hour : Decimal
        What one accelerator costs for one hour, used or not.
    power_per_kwh : Decimal
        What a kilowatt-hour costs at the meter; 0 where the rate includes power.
    pue : Decimal
        Power at the meter over power of the machines, from 1.
    """

    currency: str
    rate_per_gpu_hour: Decimal
    power_per_kwh: Decimal = Decimal(0)
    pue: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        problems = []
        if not CURRENCY.fullmatch(self.currency):
            problems.append(f"currency is {self.currency!r}")
        for name, lowest, most in (
            ("rate_per_gpu_hour", Decimal(0), MOST_PER_UNIT),
            ("power_per_kwh", Decimal(0), MOST_PER_UNIT),
            ("pue", Decimal(1), HIGHEST_PUE),
        ):
            value = getattr(self, name)
            if not isinstance(value, Decimal):
                problems.append(f"{name} is a {type(value).__name__}, not a Decimal")
            elif not (value.is_finite() and lowest <= value <= most):
                problems.append(f"{name} is {value}, not from {lowest} to {most}")
        if problems:
            raise InputError("tariff", problems, REMEDY)


def money(amount: str | float | Decimal, currency: str) -> Money:
    """Round an amount to whole cents.

    Parameters
    ----------
    amount : str, float or Decimal
        Amount.
    currency : str
        ISO 4217 code.

    Returns
    -------
    Money
        Rounded half to even.

    Raises
    ------
    InputError
        If the amount is no finite number or the currency no code.

    Examples
    --------
    >>> money("12.345", "EUR").amount
    Decimal('12.34')
    """
    try:
        value = Decimal(str(amount)).quantize(Decimal("0.01"))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise InputError("money", f"{amount!r} is no amount", REMEDY)
    if not CURRENCY.fullmatch(currency):
        raise InputError("money", f"currency is {currency!r}", REMEDY)
    return Money(currency, value)


def run_cost(tariff: Tariff, gpu_s: int | Decimal, energy_j: int | Decimal = 0) -> Money:
    """Price what a run used, exactly.

    Parameters
    ----------
    tariff : Tariff
        Prices.
    gpu_s : int or Decimal
        Accelerator-seconds, whole or exact decimals.
    energy_j : int or Decimal
        Energy of the machines, J.

    Returns
    -------
    Money
        Rent and power, in whole cents.

    Examples
    --------
    512 accelerators for an hour at 2.50 with 400 kWh at 0.10 and a PUE of 1.2:

    >>> usd = Tariff("USD", Decimal("2.50"), Decimal("0.10"), Decimal("1.2"))
    >>> run_cost(usd, 512 * 3600, 400 * 3_600_000)
    Money(currency='USD', amount=Decimal('1328.00'))
    """
    rent = tariff.rate_per_gpu_hour * Decimal(gpu_s) / S_PER_H
    power = tariff.power_per_kwh * tariff.pue * Decimal(energy_j) / J_PER_KWH
    return money(rent + power, tariff.currency)


def cost_rows(tariff: Tariff, gpu_s: ArrayLike, energy_j: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Price many sampled runs at once, for quantiles; a sum that is paid goes through `run_cost`.

    Parameters
    ----------
    tariff : Tariff
        Prices.
    gpu_s, energy_j : array_like
        Accelerator-seconds and joules; broadcast against each other.

    Returns
    -------
    ndarray of float
        Amounts in the tariff's currency, not rounded.

    Examples
    --------
    >>> usd = Tariff("USD", Decimal("3.60"))
    >>> cost_rows(usd, [1000, 2000]).tolist()
    [1.0, 2.0]
    """
    rent = float(tariff.rate_per_gpu_hour) / S_PER_H * np.asarray(gpu_s, dtype=np.float64)
    per_joule = float(tariff.power_per_kwh * tariff.pue) / J_PER_KWH
    return np.asarray(rent + per_joule * np.asarray(energy_j, dtype=np.float64), dtype=np.float64)
