"""Units at the border to people: seconds, shares and bytes as text."""

__all__ = ["NS_PER_S", "format_number", "format_ratio", "format_seconds"]

NS_PER_S = 1_000_000_000
"""Nanoseconds in a second; inside loadpath all times are integer nanoseconds."""

_RESOLUTION_S = 0.9995 / NS_PER_S


def format_seconds(seconds: float) -> str:
    """Write a time with the unit that keeps three significant digits.

    Parameters
    ----------
    seconds : float
        Time in s.

    Returns
    -------
    str
        Such as ``46.3 s``, ``77.1 ms`` or ``12.0 us``; what is below 1 ns, the resolution of all times, is 0.

    Examples
    --------
    >>> (
    ...     format_seconds(0.0771),
    ...     format_seconds(46.336),
    ...     format_seconds(17364.8),
    ...     format_seconds(1.2e-5),
    ...     format_seconds(9.999e-4),
    ...     format_seconds(-5.6e-10),
    ... )
    ('77.1 ms', '46.3 s', '17,365 s', '12.0 us', '1.00 ms', '0 s')
    """
    size = abs(seconds)
    if size < _RESOLUTION_S:
        return "0 s"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        # what would be written as 1000 of a unit is 1.00 of the next
        if size >= 0.9995 * scale:
            return f"{_three_digits(seconds / scale)} {unit}"
    return f"{_three_digits(seconds / 1e-9)} ns"


def format_number(value: float) -> str:
    """Write a number with three significant digits, large ones with separators of thousands.

    Parameters
    ----------
    value : float
        Any.

    Returns
    -------
    str
        Powers of ten where it is below a ten-thousandth, or a billion and above.

    Examples
    --------
    >>> format_number(1266.4), format_number(0.9), format_number(2.6e-05)
    ('1,270', '0.9', '2.6e-05')
    """
    short = f"{value:.3g}"
    return f"{float(short):,.0f}" if 1000 <= abs(value) < 1e9 else short


def format_ratio(ratio: float) -> str:
    """Write a share as percent with one decimal.

    Parameters
    ----------
    ratio : float
        Share, 1 is all.

    Returns
    -------
    str
        Such as ``49.3 %``.

    Examples
    --------
    >>> format_ratio(0.4932), format_ratio(-0.0001)
    ('49.3 %', '0.0 %')
    """
    return f"{100 * ratio:z.1f} %"


def _three_digits(value: float) -> str:
    size = abs(value)
    return f"{value:,.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
