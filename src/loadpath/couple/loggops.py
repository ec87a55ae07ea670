"""The LogGOPS model: what a message costs."""

from dataclasses import dataclass, fields
from math import isfinite, nan

from loadpath.errors import UsageError

__all__ = ["LogGOPS", "read_loggops"]

FORM = "Give L, o, g and S in whole ns or bytes, G and O in ns per byte, as in L=1000,G=0.04."


@dataclass(frozen=True, slots=True)
class LogGOPS:
    """Parameters of the LogGOPS model, by their letters; b is the bytes of a message less one.

    Attributes
    ----------
    L : int
        Latency of the network, ns.
    o : int
        Time a processor is taken by a send or a receive, ns.
    g : int
        Least time between two messages on a network interface, ns.
    G : float
        Time per byte on a network interface, ns; kept to whole ps. A receive takes the processor for
        ``o + max(b*O, b*G)``.
    O : float
        Time per byte on the processor, ns; kept to whole ps.
    S : int
        Largest message that is sent without waiting for its receive, bytes.

    Raises
    ------
    UsageError
        If a value is negative or beyond any machine.

    References
    ----------
    .. [1] T. Hoefler, T. Schneider, A. Lumsdaine, "LogGOPSim - Simulating Large-Scale Applications
       in the LogGOPS Model", HPDC workshop LSAP, 2010.

    Examples
    --------
    >>> LogGOPS(L=1000, G=0.04).costs
    (1000, 1500, 1000, 40, 0, 65535)
    """

    L: int = 2500
    o: int = 1500
    g: int = 1000
    G: float = 6
    O: float = 0  # noqa: E741 - the letter of the model
    S: int = 65535

    def __post_init__(self) -> None:
        problems = [
            f"{item.name} {getattr(self, item.name)} is not between 0 and 10^12"
            for item in fields(self)
            if not 0 <= getattr(self, item.name) <= 1e12
        ]
        if problems:
            raise UsageError(f"{'; '.join(problems)}. See docs/formats/simulate.md.")

    @property
    def costs(self) -> tuple[int, int, int, int, int, int]:
        """L, o and g in ns, G and O in ps per byte, S in bytes."""
        per_byte, cpu_per_byte = round(self.G * 1000), round(self.O * 1000)
        return int(self.L), int(self.o), int(self.g), per_byte, cpu_per_byte, int(self.S)


def read_loggops(text: str) -> LogGOPS:
    """Read the model off a text.

    Parameters
    ----------
    text : str
        Letters and values, such as ``L=1000,G=0.04``; what is left out keeps its default.

    Returns
    -------
    LogGOPS
        The model.

    Raises
    ------
    UsageError
        If a letter or a value is none.

    Examples
    --------
    >>> read_loggops("o=200, S=4096").costs
    (2500, 200, 1000, 6000, 0, 4096)
    """
    known = {item.name: item.type for item in fields(LogGOPS)}
    values: dict[str, float] = {}
    for part in filter(None, (word.strip() for word in text.split(","))):
        name, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = nan
        whole = known.get(name) is float or number.is_integer()
        if name not in known or not isfinite(number):
            raise UsageError(f"{part!r} is no parameter. {FORM}")
        if not whole:
            raise UsageError(f"{part!r} is not whole. {FORM}")
        values[name] = number if known[name] is float else int(number)
    return LogGOPS(**values)  # type: ignore[arg-type]
