"""What the compiler is given for the functions of `byte_kernels`: one vector comparison.

Numba compiles no vector comparison of its own accord where a loop may end early, so that these are
written for LLVM, which has them on every processor.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from loadpath.decode.byte_kernels import (
    BLANK,
    PADDING,
    RUN,
    after_blank,
    after_digits,
    after_plain,
    byte_at,
    differing,
    word_at,
)

BYTE, WORD = ir.IntType(8), ir.IntType(64)


def _load(context: Any, builder: Any, kinds: Any, args: Any, kind: Any) -> Any:
    """Load a value of a kind from a place of an array of bytes."""
    array = context.make_array(kinds[0])(context, builder, args[0])
    place = builder.gep(array.data, [args[1]])
    value = builder.load(builder.bitcast(place, kind.as_pointer()))
    value.align = 1
    return value


def _unlike(typing_context: Any, data: Any, i: Any, other: Any, j: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(BYTE, PADDING)
        one = _load(context, builder, signature.args[:2], args[:2], kind)
        two = _load(context, builder, signature.args[2:], args[2:], kind)
        return builder.bitcast(builder.icmp_unsigned("!=", one, two), WORD)

    return types.uint64(data, types.intp, other, types.intp), generate


_unlike_bytes: Any = intrinsic(_unlike)


@overload(differing)
def _compiled_differing(data: Any, i: int, other: Any, j: int) -> Any:  # noqa: ARG001
    def implementation(data: Any, i: int, other: Any, j: int) -> Any:
        return _unlike_bytes(data, i, other, j)

    return implementation


def _loader(kind: Any, numba_type: Any) -> Any:
    @intrinsic
    def load(typing_context: Any, data: Any, i: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _load(context, builder, signature.args, args, kind)

        return numba_type(data, types.intp), generate

    return load


def _splat(value: int) -> Any:
    return ir.Constant(ir.VectorType(BYTE, RUN), [value] * RUN)


def _within(builder: Any, block: Any, low: int, high: int) -> Any:
    """Tell which bytes lie between two, both included."""
    return builder.icmp_unsigned("<=", builder.sub(block, _splat(low)), _splat(high - low))


def _not_blank(builder: Any, block: Any) -> Any:
    blank = [builder.icmp_unsigned("==", block, _splat(value)) for value in BLANK]
    return builder.not_(builder.or_(builder.or_(*blank[:2]), builder.or_(*blank[2:])))


def _not_plain(builder: Any, block: Any) -> Any:
    odd = [builder.icmp_unsigned("==", block, _splat(value)) for value in (34, 92)]
    return builder.or_(builder.or_(*odd), builder.not_(_within(builder, block, 32, 127)))


def _not_digit(builder: Any, block: Any) -> Any:
    return builder.not_(_within(builder, block, 48, 57))


def _skipper(stops: Callable[[Any, Any], Any]) -> Any:
    """Make a count of bytes before the first from `i` on that stops, `RUN` if there is none."""

    @intrinsic
    def skip(typing_context: Any, data: Any, i: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            block = _load(context, builder, signature.args, args, ir.VectorType(BYTE, RUN))
            mask = builder.bitcast(stops(builder, block), ir.IntType(RUN))
            n = builder.cttz(mask, ir.Constant(ir.IntType(1), 0))
            return builder.zext(n, WORD)

        return types.intp(data, types.intp), generate

    return skip


def _compiled(plain: Any, stops: Callable[[Any, Any], Any]) -> None:
    """Let the compiler take `RUN` bytes at a time."""
    skip = _skipper(stops)

    @overload(plain)
    def typed(data: Any, i: int) -> Any:  # noqa: ARG001
        def implementation(data: Any, i: int) -> Any:
            n = skip(data, i)
            while n == RUN:
                i += n
                n = skip(data, i)
            return i + n

        return implementation


def _compiled_load(plain: Any, load: Any) -> None:
    @overload(plain)
    def typed(data: Any, i: int) -> Any:  # noqa: ARG001
        def implementation(data: Any, i: int) -> Any:
            return load(data, i)

        return implementation


_compiled(after_blank, _not_blank)
_compiled(after_plain, _not_plain)
_compiled(after_digits, _not_digit)
_compiled_load(byte_at, _loader(BYTE, types.uint8))
_compiled_load(word_at, _loader(WORD, types.uint64))
