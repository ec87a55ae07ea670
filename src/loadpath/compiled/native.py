"""Functions in whose place the compiler is given better code."""

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["load_native", "native", "native_code"]

Function = TypeVar("Function", bound=Callable[..., Any])


def native(module: str) -> Callable[[Function], Function]:
    """Name the module that tells the compiler what a function is, where kernels call it.

    Called from Python it runs as it is written. Only where there is something to compile is the
    module loaded.

    Parameters
    ----------
    module : str
        Full name of a module that overloads the function for Numba.

    Returns
    -------
    callable
        Marks a plain function; returns that function.
    """

    def marked(function: Function) -> Function:
        vars(function)["native"] = module
        return function

    return marked


def load_native(function: Any) -> None:
    """Load the module that tells the compiler what a function is, if there is one.

    Parameters
    ----------
    function : object
        What a kernel uses.
    """
    if module := getattr(function, "native", None):
        import_module(module)


def native_code(function: Any) -> Iterator[bytes]:
    """Give the text of that module, which machine code depends on.

    Parameters
    ----------
    function : object
        What a kernel uses.

    Yields
    ------
    bytes
        The module's source, if there is such a module.
    """
    module = getattr(function, "native", None)
    spec = find_spec(module) if module else None
    if spec and spec.origin:
        yield Path(spec.origin).read_bytes()
