"""The way into a kernel from C: arrays as NumPy holds them and numbers in, results into two buffers.

It is written for LLVM at once: as a Python function, Numba would take a quarter as long over it as over
the kernel.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.np import arrayobj

from loadpath.compiled.kinds import REAL, TRUTH, WHOLE, dimensions, leaves

__all__ = ["DATA_AT", "SHAPE_AT", "entry_module", "type_of"]

build: Any = cgutils
types: Any = numba.types
arrays: Any = arrayobj
POINTER = ir.IntType(8).as_pointer()
DATA_AT = object.__basicsize__
SHAPE_AT = DATA_AT + 16
"""Where an array of NumPy holds the pointers to its values and to its shape: part of NumPy's ABI."""
INT64, DOUBLE, BYTE, STATUS = ir.IntType(64), ir.DoubleType(), ir.IntType(8), ir.IntType(32)
C_TYPES: dict[str, Any] = {WHOLE: INT64, REAL: DOUBLE, TRUTH: BYTE}
NUMBERS: dict[str, Any] = {WHOLE: types.int64, REAL: types.float64, TRUTH: types.boolean}


def type_of(kind: str) -> Any:
    """Tell Numba's type of an argument.

    Parameters
    ----------
    kind : str
        As `kinds.kind_of` tells it, not empty.

    Returns
    -------
    object
        A type of Numba.
    """
    if kind.startswith("("):
        return types.BaseTuple.from_types([type_of(leaf) for leaf in leaves(kind)])
    n = dimensions(kind)
    return types.Array(_element(kind), n, "C") if n else NUMBERS[kind]


def entry_module(overload: Any, kinds: Sequence[str], symbol: str) -> str:
    """Write the entry of a kernel.

    Parameters
    ----------
    overload : object
        The kernel as Numba compiled it for these kinds.
    kinds : sequence of str
        Kinds of its arguments.
    symbol : str
        Name of the entry.

    Returns
    -------
    str
        Assembly of a module that calls the kernel: a function of each array (the object itself), each
        number, and the buffers of int64 and float64 for results; it returns 0, or 1 where the kernel
        raised.
    """
    context = overload.target_context
    module = ir.Module(symbol)
    module.triple = ""  # that of the kernel, with which it is linked
    kernel = context.declare_function(module, overload.fndesc)
    plain = [leaf for kind in kinds for leaf in leaves(kind)]
    parameters = [
        *(POINTER if dimensions(leaf) else C_TYPES[leaf] for leaf in plain),
        *[INT64.as_pointer(), DOUBLE.as_pointer()],
    ]
    function = ir.Function(module, ir.FunctionType(STATUS, parameters), symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    *given, whole, real = function.args
    numbers = iter(given)
    arguments = [_argument(context, builder, kind, numbers) for kind in kinds]
    signature = overload.signature
    status, result = context.call_conv.call_function(
        builder, kernel, signature.return_type, signature.args, arguments
    )
    with build.if_unlikely(builder, status.is_error):
        builder.ret(STATUS(1))
    _store(context, builder, (signature.return_type, result), (whole, real))
    builder.ret(STATUS(0))
    return str(module)


def _element(leaf: str) -> Any:
    name = leaf.partition(":")[0]
    return types.boolean if name == "b1" else getattr(types, np.dtype(name).name)


def _argument(context: Any, builder: Any, kind: str, numbers: Iterator[Any]) -> Any:
    """Make of arrays and numbers what the kernel takes."""
    if kind.startswith("("):
        parts = [_argument(context, builder, leaf, numbers) for leaf in leaves(kind)]
        return context.make_tuple(builder, type_of(kind), parts)
    numba_type = type_of(kind)
    value = next(numbers)
    if not dimensions(kind):
        return context.data_model_manager[numba_type].from_argument(builder, value)
    data, dims = (_pointer_at(builder, value, place) for place in (DATA_AT, SHAPE_AT))
    dims = builder.bitcast(dims, INT64.as_pointer())
    shape = [builder.load(builder.gep(dims, [INT64(k)])) for k in range(dimensions(kind))]
    size = context.get_abi_sizeof(context.get_data_type(numba_type.dtype))
    behind = accumulate(reversed(shape[1:]), builder.mul, initial=INT64(size))
    array = arrays.make_array(numba_type)(context, builder)
    arrays.populate_array(
        array,
        data=builder.bitcast(data, array.data.type),
        shape=shape,
        strides=[*behind][::-1],
        itemsize=INT64(size),
        meminfo=None,
    )
    return array._getvalue()  # noqa: SLF001 - as Numba's own code asks for it


def _pointer_at(builder: Any, value: Any, place: int) -> Any:
    """Load the pointer that stands so many bytes behind the beginning of an object."""
    at = builder.gep(value, [INT64(place)])
    return builder.load(builder.bitcast(at, POINTER.as_pointer()))


def _store(context: Any, builder: Any, returned: tuple[Any, Any], buffers: tuple[Any, Any]) -> None:
    """Write results: numbers, and block, address and shape of each array."""
    kind, result = returned
    is_tuple = isinstance(kind, types.BaseTuple)
    parts = build.unpack_tuple(builder, result) if is_tuple else [result]
    kinds = list(kind) if is_tuple else [kind] if kind != types.none else []
    places = [0, 0]
    for part_kind, part in zip(kinds, parts, strict=False):
        for number in _told(context, builder, part_kind, part):
            is_real = number.type == DOUBLE
            place = builder.gep(buffers[is_real], [INT64(places[is_real])])
            builder.store(number, place)
            places[is_real] += 1


def _told(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    """Numbers that tell a result; an array stays alive, for the kernel gave its reference away."""
    if isinstance(kind, types.Array):
        array = arrays.make_array(kind)(context, builder, value)
        shape = build.unpack_tuple(builder, array.shape)
        return [builder.ptrtoint(array.meminfo, INT64), builder.ptrtoint(array.data, INT64), *shape]
    if isinstance(kind, types.Float):
        return [context.cast(builder, value, kind, types.float64)]
    return [context.cast(builder, value, kind, types.int64)]
