"""What a kernel's machine code was made of, as one digest."""

import platform
import sys
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from loadpath.compiled.native import native_code
from loadpath.compiled.versions import version_of


def identity(function: Callable[..., Any], options: str) -> str:
    """Digest of a function's code, the constants it reads, and the kernels that it calls.

    Parameters
    ----------
    function : callable
        A plain function; kernels among the names that it uses are followed.
    options : str
        How it is to be compiled.

    Returns
    -------
    str
        64 hexadecimal digits, the same in every process of the same program on the same versions
        of Python, Numba, llvmlite and NumPy.
    """
    digest = sha256()
    for part in _parts(function, options, set()):
        digest.update(repr(part).encode())
    return digest.hexdigest()


def _parts(function: Callable[..., Any], options: str, seen: set[str]) -> Iterator[Any]:
    yield (function.__module__, function.__qualname__, options, _versions())
    yield from _code(function.__code__)
    seen.add(f"{function.__module__}.{function.__qualname__}")
    for name in used_names(function.__code__):
        if name in function.__globals__:
            yield from _value(name, function.__globals__[name], seen)


def used_names(code: CodeType) -> list[str]:
    """List the names that a code looks up outside itself, those of functions within it too.

    Parameters
    ----------
    code : CodeType
        Code of a function.

    Returns
    -------
    list of str
        Each once, in order.
    """
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return list(dict.fromkeys([*code.co_names, *(name for c in inner for name in used_names(c))]))


def _code(code: CodeType) -> Iterator[Any]:
    yield (code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _code(const)
        else:
            yield const


def _value(name: str, value: Any, seen: set[str]) -> Iterator[Any]:
    called = getattr(value, "py_func", value)
    if isinstance(called, FunctionType):
        yield from native_code(called)
        if f"{called.__module__}.{called.__qualname__}" not in seen:
            yield from _parts(called, getattr(value, "options", ""), seen)
    elif isinstance(value, np.ndarray):
        yield (name, value.dtype.str, value.shape, value.tobytes())
    elif isinstance(value, ModuleType | type):
        yield (name, value.__name__)
    else:
        yield (name, value)


@cache
def _versions() -> tuple[str, ...]:
    return (
        sys.version,
        platform.machine(),
        *(_digest(Path(__file__).with_name(name)) for name in ("building.py", "entry.py")),
        *(version_of(name) for name in ("numba", "llvmlite", "numpy")),
    )


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
