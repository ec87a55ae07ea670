"""Names, categories and lanes of one trace as codes."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.decode import Tokens, number_keys
from loadpath.decode.kinds import CATEGORIES, CATEGORY, ON_DEVICE, is_event, is_io_frame
from loadpath.ingest.kineto.communications import is_communication
from loadpath.ingest.kineto.synchronisations import asks_for_event

__all__ = ["DROPPED", "IGNORED", "ODD", "OTHER", "UNUSED", "Codes", "Vocabulary"]

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

UNUSED, IGNORED, OTHER, ODD, DROPPED = -1, -2, -3, -4, -5
"""Instead of a category: spans of others, the profiler's own, other phases, undecided, malformed."""
NOT_COUNTED = frozenset({"Trace", "gpu_user_annotation"})
"""Spans that repeat what others say: the profiler's own, and annotations mirrored to a stream."""
PYTHON, SYNC, KERNEL, RUNTIME = (
    CATEGORIES.index(n) for n in ("python", "sync", "kernel", "runtime")
)
DEVICE = np.array([CATEGORIES.index(name) for name in (*ON_DEVICE, "sync")], np.int8)
UNKNOWN = -9
HALF = 1 << 30


class Codes(dict[Any, int]):
    """Numbers keys in order of first use."""

    def __missing__(self, key: Any) -> int:
        code = self[key] = len(self)
        return code


class _PerToken:
    """A number for each token, computed when it is first used."""

    def __init__(self, tokens: Tokens, compute: Callable[[str], int]) -> None:
        self._tokens, self._compute = tokens, compute
        self._value = np.full(1, UNKNOWN, np.int32)

    def __call__(self, token: Int32Array) -> Int32Array:
        if len(self._tokens) >= self._value.size:
            longer = np.full(2 * len(self._tokens) + 1, UNKNOWN, np.int32)
            longer[: self._value.size] = self._value
            self._value = longer
        value = self._value[token + 1]
        if (value == UNKNOWN).any():
            new = np.unique(token[value == UNKNOWN]).astype(np.int64)
            texts = ["" for _ in range(int(new[0] < 0))] + self._tokens.texts(new[new >= 0])
            self._value[new + 1] = np.fromiter(map(self._compute, texts), np.int32, new.size)
            value = self._value[token + 1]
        return value


class Vocabulary:
    """Codes of one trace, extended while its chunks go by."""

    def __init__(self) -> None:
        self.tokens = Tokens()
        self.names, self.lanes = Codes(), Codes()
        self.name_code = _PerToken(self.tokens, self.names.__getitem__)
        self._speaks = np.zeros(0, np.bool_)
        self._category = _PerToken(self.tokens, category_code)
        self._is_frame = _PerToken(self.tokens, is_io_frame)
        self._is_event = _PerToken(self.tokens, is_event)
        self._asks = _PerToken(self.tokens, asks_for_event)
        self._known: dict[int, int] = {}
        self._lane_code = np.empty(0, np.int32)

    def categories(self, cat: Int32Array, name: Int32Array) -> NDArray[np.int8]:
        """Tell as what spans are read.

        Parameters
        ----------
        cat, name : (n,) arrays of int32
            Tokens.

        Returns
        -------
        (n,) array of int8
            Place in `CATEGORIES`; `UNUSED` or `IGNORED` where they are not read.
        """
        read = self._category(cat).astype(np.int8)
        for value, of_name, wanted, instead in (
            (PYTHON, self._is_frame, 0, UNUSED),
            (KERNEL, self._is_event, 1, SYNC),
        ):
            row = np.flatnonzero(read == value)
            read[row[of_name(name[row]) == wanted]] = instead
        return read

    def tells(self, read: NDArray[np.int8], name: Int32Array, names_event: BoolArray) -> BoolArray:
        """Tell which spans' arguments are worth a look.

        Parameters
        ----------
        read : (n,) array of int8
            What they are read as.
        name : (n,) array of int32
            Tokens.
        names_event : (n,) array of bool
            Whether their arguments name a stream or an event.

        Returns
        -------
        (n,) array of bool
            True where they speak of a communication or a synchronisation.
        """
        tells: BoolArray = read == SYNC
        used = np.flatnonzero(read >= 0)
        code = self.name_code(name[used])
        tells[used] |= self._speaking()[code]
        calls = np.flatnonzero((read == RUNTIME) & names_event)
        tells[calls] |= self._asks(name[calls]) == 1
        return tells

    def _speaking(self) -> BoolArray:
        """Tell for each name whether it is that of a communication."""
        n_new = len(self.names) - self._speaks.size
        if n_new:
            latest = itertools.islice(reversed(self.names), n_new)
            speaks = np.fromiter(map(is_communication, latest), np.bool_, n_new)
            self._speaks = np.concatenate([self._speaks, speaks[::-1]])
        return self._speaks

    def lane_code(
        self,
        read: NDArray[np.int8],
        host: tuple[Int32Array, Int32Array],
        device: tuple[Int64Array, Int64Array],
    ) -> Int32Array:
        """Give lanes of spans their codes.

        Parameters
        ----------
        read : (n,) array of int8
            What they are read as.
        host : tuple of two (n,) arrays of int32
            Tokens of process and thread.
        device : tuple of two (n,) arrays of int64
            Device and stream from the arguments, -1 where they name none; below 2**30.

        Returns
        -------
        (n,) array of int32
            Codes of `lanes`, whose keys are ``(on device, process, thread)``.
        """
        on_device = np.isin(read, DEVICE)
        halves = [
            np.where(on_device & (number >= 0), number, HALF + 1 + token)
            for token, number in zip(host, device, strict=True)
        ]
        key = (on_device.astype(np.int64) << 62) | (halves[0] << 31) | halves[1]
        code, new = number_keys(key, self._known)
        if new:
            fresh = [self.lanes[self._lane(key)] for key in new]
            self._lane_code = np.append(self._lane_code, np.array(fresh, np.int32))
        return self._lane_code[code]

    def _lane(self, key: int) -> tuple[bool, str, str]:
        first, second = (key >> 31) & (2 * HALF - 1), key & (2 * HALF - 1)
        return bool(key >> 62), self._half(first), self._half(second)

    def _half(self, value: int) -> str:
        if value < HALF:
            return str(value)
        return self.tokens.text(value - HALF - 1) if value > HALF else "-1"


def category_code(cat: str) -> int:
    """Tell as what spans of a recorded category are read.

    Parameters
    ----------
    cat : str
        Category as recorded, in any case.

    Returns
    -------
    int
        Place in `CATEGORIES`; `UNUSED` or `IGNORED` where they are not read.
    """
    if cat in NOT_COUNTED:
        return IGNORED
    read = CATEGORY.get(cat.lower())
    return UNUSED if read is None else CATEGORIES.index(read)
