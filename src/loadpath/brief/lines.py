"""Lines of a summary in a terminal: a head, and text beside it."""

import re
import textwrap

from loadpath.brief.visible import visible

__all__ = ["N_LINES", "entry", "wrap"]

WIDTH, INDENT = 80, 15
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=%|(?:[mun]?s|[kM]?W)\b)")
"""The space between a number and its unit, at which no line ends."""
N_LINES = 25
"""Lines of a summary, at most."""


def entry(head: str, text: str, most: int) -> list[str]:
    """Write one entry; of a long one the beginning.

    Parameters
    ----------
    head : str
        What it is about.
    text : str
        What is said; nothing where empty.
    most : int
        Lines, at most.

    Returns
    -------
    list of str
        Of at most 80 columns.
    """
    if not text:
        return []
    lines = wrap(head, visible(text, limit=700))
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], lines[most - 1][: WIDTH - 4].rstrip() + " ..."]


def wrap(head: str, text: str) -> list[str]:
    """Break text into lines beside its head.

    Parameters
    ----------
    head : str
        What it is about.
    text : str
        Any.

    Returns
    -------
    list of str
        Of at most 80 columns; a number stays beside its unit.

    Examples
    --------
    >>> wrap("Verdict", "none")
    ['Verdict        none']
    """
    lines = textwrap.wrap(
        _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", text),
        WIDTH,
        initial_indent=head.ljust(INDENT),
        subsequent_indent=" " * INDENT,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
