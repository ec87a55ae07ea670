"""Machine code into this process, and its calls."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from loadpath.compiled.kinds import REAL, TRUTH, WHOLE, dimensions, leaves
from loadpath.compiled.results import MOST_REAL, MOST_WHOLE, returned

C_TYPES: dict[str, Any] = {WHOLE: ctypes.c_int64, REAL: ctypes.c_double, TRUTH: ctypes.c_bool}
Call = Callable[[Sequence[Any]], Any]


def target_machine() -> Any:
    """Describe this processor to LLVM, for code that runs where it was made.

    Returns
    -------
    object
        A target machine of llvmlite; an engine that takes it owns it.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


@cache
def processor() -> str:
    """Name this processor and its features; machine code of another one is not for it.

    Returns
    -------
    str
        As LLVM names them.
    """
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


@cache
def _engine() -> Any:
    empty = llvm.parse_assembly(f'target triple = "{llvm.get_default_triple()}"')
    return llvm.create_mcjit_compiler(empty, target_machine())


def loaded(code: bytes, symbol: str, kinds: Sequence[str], results: str) -> Call:
    """Load machine code and return what calls it.

    Parameters
    ----------
    code : bytes
        An object file that defines `symbol`, as `entry.entry_module` writes it: a function of each array,
        each number, and buffers for results.
    symbol : str
        Name of the function.
    kinds : sequence of str
        Kinds of its arguments, as `kinds.kind_of` tells them.
    results : str
        Kinds of what it returns, as `results.tokens` reads them.

    Returns
    -------
    callable
        Takes the sequence of arguments; raises `KernelError` where the kernel raises.
    """
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    native = ctypes.CFUNCTYPE(ctypes.c_int32, *_parameters(kinds))(
        engine.get_function_address(symbol)
    )
    are_tuples = [kind[0] == "(" for kind in kinds]
    has_tuples = any(are_tuples)

    def call(arguments: Sequence[Any]) -> Any:
        given = _flat(arguments, are_tuples) if has_tuples else arguments
        if not results:
            if native(*given, None, None) != 0:
                raise KernelError(symbol)
            return None
        whole, real = np.zeros(MOST_WHOLE, np.int64), np.zeros(MOST_REAL)
        if native(*given, whole.ctypes.data, real.ctypes.data) != 0:
            raise KernelError(symbol)
        return returned(whole, real, results)

    return call


def _flat(arguments: Sequence[Any], are_tuples: Sequence[bool]) -> Iterator[Any]:
    """Give the parts of tuples one by one."""
    for argument, is_tuple in zip(arguments, are_tuples, strict=True):
        if is_tuple:
            yield from argument
        else:
            yield argument


class KernelError(Exception):
    """A kernel raised; Numba's own call of it says what."""


def _parameters(kinds: Sequence[str]) -> list[Any]:
    plain = (leaf for kind in kinds for leaf in leaves(kind))
    parameters = [ctypes.py_object if dimensions(leaf) else C_TYPES[leaf] for leaf in plain]
    return [*parameters, ctypes.c_void_p, ctypes.c_void_p]
