"""Reading a design: TOML text to `Design`, with all problems at once and the line of each."""

import math
import tomllib
import types
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from loadpath.errors import InputError, first_line
from loadpath.forecast.design import Design
from loadpath.forecast.design_checks import Problem, check_design
from loadpath.forecast.design_lines import Path, find_lines, line_of
from loadpath.forecast.quantity import parse_quantity

__all__ = ["parse_design"]

LARGEST = 1 << 53
"""Whole numbers are exact up to here wherever they are computed with."""
REMEDY = "Keys, units and examples are described in docs/formats/design.md."


def parse_design(text: str, where: str = "design") -> Design:
    r"""Read a design.

    Parameters
    ----------
    text : str
        TOML.
    where : str
        How errors call it: its file.

    Returns
    -------
    Design
        Checked, in SI units.

    Raises
    ------
    InputError
        If it is no TOML, or names all that is wrong with it: unknown and missing keys, wrong types
        and units, sizes that do not divide, weights that do not fit.

    Examples
    --------
    >>> try:
    ...     parse_design("name = 'small'\ncluster = { device = 'A100-SXM4-80GB', acelerators = 8 }")
    ... except InputError as error:
    ...     for problem in error.problems:
    ...         print(problem)
    model or stencil must describe the job, and only one of them
    line 2: cluster.acelerators is unknown; accelerators is known
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(where, f"no TOML: {first_line(error)}", REMEDY) from error
    problems: list[Problem] = []
    fields = _read_table(Design, table, (), problems)
    if fields is not None:
        unread = [problem.path for problem in problems]
        found = check_design(Design(**fields))
        # A table that could not be read is not missing.
        problems += [p for p in found if all(path[: len(p.path)] != p.path for path in unread)]
    if problems or fields is None:
        lines = find_lines(text)
        problems.sort(key=lambda problem: line_of(lines, problem.path) or 0)
        raise InputError(where, [_told(problem, lines) for problem in problems], REMEDY)
    return Design(**fields)


def _told(problem: Problem, lines: dict[Path, int]) -> str:
    line = line_of(lines, problem.path)
    name = ".".join(str(part) for part in problem.path)
    return f"line {line}: {name} {problem.what}" if line else f"{name} {problem.what}"


def _read_table(
    kind: type[Struct], value: object, path: Path, problems: list[Problem]
) -> dict[str, Any] | None:
    """Read the fields of a table; None if one that it needs is missing or wrong."""
    if not isinstance(value, dict):
        problems.append(Problem(path, f"is {value!r}, which is no table"))
        return None
    hints = get_type_hints(kind, include_extras=True)
    required = {f.name for f in msgspec.structs.fields(kind) if f.required}
    value = _renamed(value, hints, path, problems)
    problems += [Problem((*path, name), "is missing") for name in sorted(required - set(value))]
    fields, whole = {}, required <= set(value)
    for name, entry in value.items():
        read = _read_value(hints[name], entry, (*path, name), problems)
        if read is not None:
            fields[name] = read
        elif name in required:
            whole = False
    return fields if whole else None


def _read_value(hint: Any, value: object, path: Path, problems: list[Problem]) -> Any:
    """Read one value; None if it is wrong."""
    hint = _not_none(hint)
    if isinstance(hint, type) and issubclass(hint, Struct):
        fields = _read_table(hint, value, path, problems)
        return None if fields is None else hint(**fields)
    if get_origin(hint) is tuple:
        return _read_list(get_args(hint)[0], value, path, problems)
    unit = _unit(hint)
    try:
        if unit is not None:
            return parse_quantity(value, unit)
        return _finite(msgspec.convert(value, hint, strict=True))
    except ValueError as error:
        said = first_line(error)
        if get_origin(hint) is Literal:
            said += f"; one of {', '.join(map(str, get_args(hint)))} would do"
        problems.append(Problem(path, said if unit else f"is {value!r}: {said}"))
        return None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be finite")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"must be at most {LARGEST}")
    return value


def _read_list(
    kind: type[Struct], value: object, path: Path, problems: list[Problem]
) -> tuple[Any, ...] | None:
    if not isinstance(value, list):
        problems.append(Problem(path, f"is {value!r}, which is no list of tables"))
        return None
    entries = [
        _read_value(kind, entry, (*path, place), problems) for place, entry in enumerate(value)
    ]
    return None if None in entries else tuple(entries)


def _not_none(hint: Any) -> Any:
    if get_origin(hint) in {Union, types.UnionType}:
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _unit(hint: Any) -> str | None:
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, Meta) and note.extra:
            return str(note.extra["unit"])
    return None


def _renamed(
    table: dict[str, Any], hints: dict[str, Any], path: Path, problems: list[Problem]
) -> dict[str, Any]:
    """Report unknown keys; read on as if they were what they resemble, so that no error follows."""
    known = {key: entry for key, entry in table.items() if key in hints}
    for key in table.keys() - known.keys():
        near = get_close_matches(str(key), list(hints), n=1)
        if near:
            problems.append(Problem((*path, key), f"is unknown; {near[0]} is known"))
            known.setdefault(near[0], table[key])
            continue
        around = ".".join(str(part) for part in path) or "a design"
        said = f"is unknown; keys of {around} are {', '.join(sorted(hints))}"
        problems.append(Problem((*path, key), said))
    return known
