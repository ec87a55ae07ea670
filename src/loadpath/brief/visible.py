"""Names come from recordings: what would steer a terminal or hide in a page is spelled out."""

import unicodedata

__all__ = ["visible"]

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str, *, limit: int = 400) -> str:
    r"""Spell out control, formatting and bidirectional characters, and bound the length.

    Parameters
    ----------
    text : str
        Text that may come from a recording.
    limit : int
        Most characters kept; the rest becomes an ellipsis.

    Returns
    -------
    str
        Text that shows all it holds.

    Examples
    --------
    >>> visible("ok\x1b[31mred")
    'ok\\x1b[31mred'
    >>> visible("a" * 10, limit=5)
    'aaaa…'
    """
    short = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(_spell(letter) for letter in short)


def _spell(letter: str) -> str:
    if unicodedata.category(letter) not in _HIDDEN:
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
