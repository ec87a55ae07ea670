"""Line of each key of a TOML text, so that a wrong value can be shown where it stands."""

import re

__all__ = ["Path", "find_lines", "line_of"]

Path = tuple[str | int, ...]
"""Keys and places in lists that lead to a value."""

_HEADER = re.compile(r"\s*\[(\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_FENCE = re.compile(r"\"{3}|'{3}")


def find_lines(text: str) -> dict[Path, int]:
    r"""Find where each table and key of a TOML text begins.

    Parameters
    ----------
    text : str
        Valid TOML.

    Returns
    -------
    dict of path to int
        Line numbers from 1.

    Examples
    --------
    >>> find_lines("name = 'a'\n[[cluster.tiers]]\nsize = 8\n")[("cluster", "tiers", 0, "size")]
    3
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        fences = len(_FENCE.findall(line))
        if inside:
            inside = fences % 2 == 0
            continue
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = _indexed(_split(header[2]), counts)
            if header[1]:
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif key:
            lines.setdefault((*table, *_split(key[1])), number)
        inside = fences % 2 == 1
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """Give the line of a value, or of the nearest table around it.

    Parameters
    ----------
    lines : dict of path to int
        Result of `find_lines`.
    path : Path
        The value.

    Returns
    -------
    int or None
        None where no table around it has a line.
    """
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def _split(dotted: str) -> Path:
    parts = re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", dotted)
    return tuple(part.strip("\"'") for part in parts)


def _indexed(keys: Path, counts: dict[Path, int]) -> Path:
    path: Path = ()
    for place, key in enumerate(keys):
        path = (*path, key)
        if path in counts and place < len(keys) - 1:
            path = (*path, counts[path])
    return path
