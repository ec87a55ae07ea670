"""Reading a design: TOML text to `Design`, with all problems at once and the line of each."""

import math
import tomllib
import types
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

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
    table = _tables_of(text, where)
    reading = _Reading([], 0)
    fields = _read_table(Design, table, (), reading)
    problems = reading.problems
    if fields is not None:
        unread = [problem.path for problem in problems]
        found = _checked(table, fields, again=bool(unread))
        # A table that could not be read is not missing.
        problems += [p for p in found if all(path[: len(p.path)] != p.path for path in unread)]
    if problems or fields is None:
        lines = find_lines(text)
        problems.sort(key=lambda problem: line_of(lines, problem.path) or 0)
        raise InputError(where, [_told(problem, lines) for problem in problems], REMEDY)
    return Design(**fields)


def _tables_of(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(where, f"no TOML: {first_line(error)}", REMEDY) from error
    except RecursionError as error:
        raise InputError(where, "no design: its values are nested too deep", REMEDY) from error
    except ValueError as error:  # of an int of thousands of digits
        raise InputError(where, "no design: a number has thousands of digits", REMEDY) from error


class _Reading(NamedTuple):
    """What is wrong so far, and which of two values stands in for one that is wrong."""

    problems: list[Problem]
    turn: int


def _checked(table: object, fields: dict[str, Any], *, again: bool) -> list[Problem]:
    """Check a design; where values stand in for wrong ones, only what two of them have in common is said."""
    found = check_design(Design(**fields))
    if not again:
        return found
    other = _read_table(Design, table, (), _Reading([], 1))
    shared = [] if other is None else check_design(Design(**other))
    return [problem for problem in found if problem in shared]


def _stand_in(hint: Any, turn: int) -> Any:
    """Give a value in place of a wrong one: of whole numbers one that divides all and one that much divides."""
    if get_origin(hint) is Literal:
        return get_args(hint)[turn]
    if get_origin(hint) is dict:
        return {}
    kind = hint if isinstance(hint, type) else get_args(hint)[0]
    return {int: (1, 720_720), float: (1.0, 0.5), str: ("", "-"), bool: (False, True)}[kind][turn]


def _told(problem: Problem, lines: dict[Path, int]) -> str:
    line = line_of(lines, problem.path)
    name = ".".join(str(part) for part in problem.path)
    return f"line {line}: {name} {problem.what}" if line else f"{name} {problem.what}"


def _read_table(
    kind: type[Struct], value: object, path: Path, reading: _Reading
) -> dict[str, Any] | None:
    """Read the fields of a table; None if it is none, or misses one that nothing can stand in for."""
    if not isinstance(value, dict):
        reading.problems.append(Problem(path, f"is {value!r}, which is no table"))
        return None
    hints = get_type_hints(kind, include_extras=True)
    required = {f.name for f in msgspec.structs.fields(kind) if f.required}
    value = _renamed(value, hints, path, reading.problems)
    missing = sorted(required - set(value))
    reading.problems.extend(Problem((*path, name), "is missing") for name in missing)
    fields = {name: _absent(hints[name], reading.turn) for name in missing}
    for name, entry in value.items():
        fields[name] = _read_value(hints[name], entry, (*path, name), reading)
    fields = {name: read for name, read in fields.items() if read is not None}
    return fields if required <= set(fields) else None


def _absent(hint: Any, turn: int) -> Any:
    """Give what stands in for a missing entry; None for a table."""
    whole_table = isinstance(hint, type) and issubclass(hint, Struct)
    return None if whole_table or get_origin(hint) is tuple else _stand_in(hint, turn)


def _read_value(hint: Any, value: object, path: Path, reading: _Reading) -> Any:
    """Read one value; where it is wrong what stands in for it, None for a table."""
    hint = _not_none(hint)
    if isinstance(hint, type) and issubclass(hint, Struct):
        fields = _read_table(hint, value, path, reading)
        return None if fields is None else hint(**fields)
    if get_origin(hint) is tuple:
        return _read_list(get_args(hint)[0], value, path, reading)
    unit = _unit(hint)
    try:
        if unit is not None:
            return parse_quantity(value, unit)
        return _finite(msgspec.convert(value, hint, strict=True))
    except ValueError as error:
        said = first_line(error)
        if unit is None:
            said = f"is {value!r}; {_needed(hint, value)} would do"
        reading.problems.append(Problem(path, said))
        return _stand_in(hint, reading.turn)


_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _needed(hint: Any, value: object) -> str:
    """Say in words what a value without unit must be."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if isinstance(hint, type) or get_origin(hint) is dict:
        return _KINDS.get(hint, "a table of numbers")
    kind, *notes = get_args(hint)
    edges = next((note for note in notes if isinstance(note, Meta)), Meta())
    text = _KINDS[kind]
    if edges.ge is not None:
        text += f" from {edges.ge:g}"
    beyond = isinstance(value, int) and value > LARGEST
    most = LARGEST if kind is int and beyond else edges.le
    return text if most is None else f"{text} to {most:,}"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not finite")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError("not exact")
    return value


def _read_list(
    kind: type[Struct], value: object, path: Path, reading: _Reading
) -> tuple[Any, ...] | None:
    if not isinstance(value, list):
        reading.problems.append(Problem(path, f"is {value!r}, which is no list of tables"))
        return None
    entries = [
        _read_value(kind, entry, (*path, place), reading) for place, entry in enumerate(value)
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
