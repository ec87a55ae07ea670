"""Machine code out of a kernel, by Numba; loaded only where there is something to compile."""

import ctypes
from collections.abc import Callable, Sequence
from types import CellType, FunctionType
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core.runtime import nrtdynmod
from numba.np.numpy_support import as_dtype

from loadpath.compiled.entry import DATA_AT, SHAPE_AT, entry_module, type_of
from loadpath.compiled.identity import used_names
from loadpath.compiled.kinds import ARRAY_DTYPES, REAL, TRUTH, WHOLE
from loadpath.compiled.machine import target_machine
from loadpath.compiled.native import load_native
from loadpath.compiled.results import MOST_REAL, MOST_WHOLE, size_of

njit: Any = numba.njit
types: Any = numba.types
NOT_FROM_PYTHON = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
C_LIBRARY = ctypes.CDLL(None)
MEMORY_LAYOUT = "{i64, i8*, i8*, i8*, i64}"
MEMORY = """
declare ptr @malloc(i64)
declare void @free(ptr)
define linkonce_odr noalias ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {
  %wide = zext i32 %align to i64
  %head = add i64 %wide, 40
  %room = add i64 %size, %head
  %block = call ptr @malloc(i64 %room)
  %failed = icmp eq ptr %block, null
  br i1 %failed, label %none, label %some
some:
  %place = ptrtoint ptr %block to i64
  %behind = add i64 %place, %head
  %less = sub i64 0, %wide
  %low = and i64 %behind, %less
  %data = inttoptr i64 %low to ptr
  store i64 1, ptr %block
  %dtor = getelementptr i8, ptr %block, i64 8
  store ptr null, ptr %dtor
  %info = getelementptr i8, ptr %block, i64 16
  store ptr null, ptr %info
  %held = getelementptr i8, ptr %block, i64 24
  store ptr %data, ptr %held
  %length = getelementptr i8, ptr %block, i64 32
  store i64 %size, ptr %length
  ret ptr %block
none:
  ret ptr null
}
define linkonce_odr ptr @NRT_Allocate(i64 %size) {
  %block = call ptr @malloc(i64 %size)
  ret ptr %block
}
define linkonce_odr void @NRT_Free(ptr %block) {
  call void @free(ptr %block)
  ret void
}
define linkonce_odr void @NRT_MemInfo_call_dtor(ptr %block) {
  call void @free(ptr %block)
  ret void
}
"""
"""Numba's blocks of memory, as its compiled code expects them, on the C library's allocator."""


def dispatcher(function: Callable[..., Any], options: dict[str, Any], identity: str = "") -> Any:
    """Let Numba compile a function when it is called.

    Parameters
    ----------
    function : callable
        A plain function; kernels that it calls are Numba's too.
    options : dict
        Options of ``numba.njit``.
    identity : str
        What the function is made of, if Numba is to keep what it compiles, where it can.

    Returns
    -------
    object
        Numba's function.
    """
    code = function.__code__
    space: dict[str, Any] = function.__globals__
    used = {name: space[name] for name in used_names(code) if name in space}
    for value in used.values():
        load_native(value)
    theirs = {name: value.within for name, value in used.items() if _is_kernel(value)}
    # Numba looks for changes in one file alone, but tells closures apart by what they hold
    held = ("identity",) if identity else ()
    cells = tuple(CellType(identity) for _ in held)
    code = code.replace(co_freevars=held)
    twin = FunctionType(code, space | theirs, function.__name__, function.__defaults__, cells)
    twin.__module__, twin.__qualname__ = function.__module__, function.__qualname__
    return _kept_by_numba(twin, options) if identity else njit(**options)(twin)


def _kept_by_numba(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Let Numba keep what it makes where it finds a folder to write to."""
    try:
        return njit(**options, cache=True)(function)
    except RuntimeError:
        return njit(**options)(function)


def _is_kernel(value: Any) -> bool:
    return hasattr(value, "py_func") and hasattr(value, "within")


def built(compiled: Any, kinds: Sequence[str], symbol: str) -> tuple[str, str, bytes] | None:
    """Compile for kinds of arguments.

    Parameters
    ----------
    compiled : object
        Numba's function, of `dispatcher`.
    kinds : sequence of str
        Kinds of arguments, none of them empty.
    symbol : str
        A name that no other kernel has.

    Returns
    -------
    tuple of str, str and bytes, or None
        Name of the function in the object file, kinds of what it returns, and the object file.
        None where it must be left to Numba: something else is returned, more is needed than the
        C library and `MEMORY` give, or blocks or arrays lie otherwise than expected.
    """
    signature = tuple(type_of(kind) for kind in kinds)
    results = _results(compiled, signature)
    if results is None or not _is_laid_out():
        return None
    made = compiled.overloads[signature]
    code = _object(compiled.inspect_llvm(signature), entry_module(made, kinds, symbol), symbol)
    return None if code is None else (symbol, results, code)


def _is_laid_out() -> bool:
    """Say whether Numba's blocks of memory and NumPy's arrays lie as entries expect them."""
    array = np.zeros((2, 3))
    data, shape = (ctypes.c_void_p.from_address(id(array) + at).value for at in (DATA_AT, SHAPE_AT))
    if str(nrtdynmod._meminfo_struct_type) != MEMORY_LAYOUT or data != array.ctypes.data:  # noqa: SLF001
        return False
    return bool(shape) and (ctypes.c_int64 * 2).from_address(shape or 0)[:] == [2, 3]


def _results(compiled: Any, signature: tuple[Any, ...]) -> str | None:
    compiled.compile(signature)
    kind = compiled.overloads[signature].signature.return_type
    if kind == types.none:
        return ""
    is_tuple = isinstance(kind, types.BaseTuple)
    found = [_token(part) for part in (kind if is_tuple else [kind])]
    told = [token for token in found if token]
    n_whole = sum(size_of(token) for token in told if token != REAL)
    if len(told) < len(found) or n_whole > MOST_WHOLE or told.count(REAL) > MOST_REAL:
        return None
    return "".join(f"{token}," for token in told) if is_tuple else told[0]


def _token(kind: Any) -> str:
    """Kind of a result; empty where only Numba can return it."""
    if isinstance(kind, types.Boolean):
        return TRUTH
    if isinstance(kind, types.Float):
        return REAL
    if isinstance(kind, types.Array):
        dtype = as_dtype(kind.dtype)
        name = f"{dtype.kind}{dtype.itemsize}"
        return f"{name}:{kind.ndim}" if kind.layout == "C" and name in ARRAY_DTYPES else ""
    is_whole = isinstance(kind, types.Integer) and (kind.signed or kind.bitwidth < 64)
    return WHOLE if is_whole else ""


def _object(text: str, entry: str, name: str) -> bytes | None:
    module = llvm.parse_assembly(text)
    for other in (entry, MEMORY):
        module.link_in(llvm.parse_assembly(other))
    for function in module.functions:
        if not function.is_declaration and function.name != name:
            function.linkage = "internal"
    machine = target_machine()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=0))
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    passes.run(module, builder)
    needed = [v.name for v in (*module.functions, *module.global_variables) if v.is_declaration]
    if any(not name.startswith("llvm.") and not hasattr(C_LIBRARY, name) for name in needed):
        return None
    return bytes(machine.emit_object(module))
