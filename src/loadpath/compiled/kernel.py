"""A kernel: a function that is compiled for the kinds of arguments it meets."""

import os
import sys
from collections.abc import Callable
from functools import cached_property, update_wrapper
from hashlib import sha256
from importlib import import_module
from threading import RLock
from typing import Any

import numpy as np

from loadpath.compiled import store
from loadpath.compiled.identity import identity
from loadpath.compiled.kinds import kind_of

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
LEFT_TO_NUMBA = "numba"
_lock = RLock()


class Kernel:
    """A function of arrays and numbers, compiled when it is called, and kept.

    Parameters
    ----------
    function : callable
        The function as it is written.
    inline, borrows : bool
        As for `kernel`.

    Attributes
    ----------
    py_func : callable
        The function as it was written.
    options : str
        How it is compiled.
    """

    def __init__(
        self, function: Callable[..., Any], *, inline: bool = False, borrows: bool = False
    ) -> None:
        update_wrapper(self, function)
        self.py_func = function
        self._options = OPTIONS | ({"inline": "always"} if inline else {})
        self._options |= {"_nrt": False} if borrows else {}
        self.options = repr(sorted(self._options.items()))
        self._calls: dict[tuple[str, ...], Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Call the machine code for arguments of these kinds.

        Parameters
        ----------
        *arguments
            Arguments of the function, by position.

        Returns
        -------
        object
            What it returns.
        """
        kinds = tuple(map(kind_of, arguments))
        call = self._calls.get(kinds)
        if call is None:
            with _lock:
                call = self._calls[kinds] = self._call_for(kinds)
        return call(arguments)

    @cached_property
    def within(self) -> Any:
        """Numba's function for calls out of compiled code."""
        building = import_module("loadpath.compiled.building")
        return building.dispatcher(self.py_func, self._options | building.NOT_FROM_PYTHON)

    @cached_property
    def _numba(self) -> Any:
        building = import_module("loadpath.compiled.building")
        return building.dispatcher(self.py_func, self._options, self._identity)

    @cached_property
    def _identity(self) -> str:
        return identity(self.py_func, self.options)

    def _left(self, arguments: Any) -> Any:
        return self._numba(*arguments)

    def _call_for(self, kinds: tuple[str, ...]) -> Callable[..., Any]:
        if "" in kinds:
            return self._left
        machine = import_module("loadpath.compiled.machine")
        key = _digest(self._identity, *kinds, machine.processor())[:32]
        what = f"{self.py_func.__module__}.{self.py_func.__name__}"
        case = _digest(*kinds, machine.processor())[:12]
        name = f"{what}-{sys.implementation.cache_tag}-{case}-{key}"
        held = store.kept(name) or self._made(kinds, name, key)
        symbol, results, code = held.split(b"\n", 2)
        if symbol.decode() == LEFT_TO_NUMBA:
            return self._left
        native = machine.loaded(code, symbol.decode(), kinds, results.decode())

        def call(arguments: Any) -> Any:
            try:
                return native(arguments)
            except machine.KernelError:
                return self._numba(*arguments)

        return call

    def _made(self, kinds: tuple[str, ...], name: str, key: str) -> bytes:
        building = import_module("loadpath.compiled.building")
        made = building.built(self.within, kinds, f"kernel_{key}")
        symbol, results, code = made or (LEFT_TO_NUMBA, "", b"")
        held = f"{symbol}\n{results}\n".encode() + code
        store.keep(name, held)
        return held


def _digest(*parts: str) -> str:
    return sha256(" ".join(parts).encode()).hexdigest()


def kernel(
    function: Any = None, *, inline: bool = False, borrows: bool = False, wraps: bool = False
) -> Any:
    """Compile a function when it is called, without bounds and without exceptions of arithmetic.

    ``NUMBA_DISABLE_JIT=1`` leaves it as it is: to be looked at on small input, since Python takes
    about 2 us for each byte of a record.

    Parameters
    ----------
    function : callable
        Takes contiguous arrays, numbers and tuples of them, and returns such. It may call other
        kernels.
    inline : bool
        Whether its body is put where other kernels call it.
    borrows : bool
        Whether references to arrays are not counted, which a function may do that makes none. In a
        loop that calls other kernels counting them takes as long as the rest.
    wraps : bool
        Whether numbers may leave their range: those of digests are meant to, others are refused by
        the caller. Compiled all of them may; Python warns of those in other functions.

    Returns
    -------
    Kernel
        Or the function itself where compilation is switched off.

    Examples
    --------
    >>> import numpy as np
    >>> @kernel
    ... def total(values):
    ...     n = 0
    ...     for i in range(values.size):
    ...         n += values[i]
    ...     return n
    >>> total(np.arange(5))
    10
    """
    if function is None:
        return lambda given: kernel(given, inline=inline, borrows=borrows, wraps=wraps)
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return np.errstate(over="ignore", invalid="ignore")(function) if wraps else function
    return Kernel(function, inline=inline, borrows=borrows)
