"""Pieces of text, numbered by content: names and identifiers that repeat a million times."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadpath.decode.token_kernels import intern_tokens, rehash

__all__ = ["Tokens", "number_keys"]

FIRST_SIZE = 1 << 12


class Tokens:
    """Distinct JSON strings and numbers of a document, in order of first use."""

    def __init__(self) -> None:
        self._table = np.full(FIRST_SIZE, -1, np.int64)
        self._text = np.empty(0, np.uint8)
        self._first = np.zeros(1, np.int64)
        self._n = 0
        self._told: dict[int, str] = {}

    def __len__(self) -> int:
        return self._n

    def codes(
        self, body: bytes, low: NDArray[np.int32], high: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """Give each piece of a text its number.

        Parameters
        ----------
        body : bytes
            The text.
        low, high : (n,) arrays of int32
            Where each piece begins and ends; -1 for none.

        Returns
        -------
        (n,) array of int32
            Number of each piece, equal for equal ones; -1 for none.

        Examples
        --------
        >>> at = np.array([[0, 4, 7, -1], [3, 6, 10, -1]], np.int32)
        >>> tokens = Tokens()
        >>> tokens.codes(b'"a" 12 "a"', *at).tolist(), tokens.text(0), tokens.text(1)
        ([0, 1, 0, -1], 'a', '12')
        """
        self._make_room(int(low.size), int(np.where(low < 0, 0, high - low).sum()))
        code = np.empty(low.size, np.int32)
        self._n = intern_tokens(
            np.frombuffer(body, np.uint8), low, high, self._arrays(), self._n, code
        )
        return code

    def text(self, token: int) -> str:
        """Return the content of a piece.

        Parameters
        ----------
        token : int
            Its number.

        Returns
        -------
        str
            What the string says, or the number in its shortest form.
        """
        if token not in self._told:
            self._told[token] = self.texts(np.array([token]))[0]
        return self._told[token]

    def texts(self, tokens: NDArray[np.int64]) -> list[str]:
        """Return the contents of many pieces.

        Parameters
        ----------
        tokens : (n,) array of int64
            Their numbers, ascending.

        Returns
        -------
        list of str
            What each string says, or each number in its shortest form.
        """
        if not tokens.size:
            return []
        begin = int(self._first[tokens[0]])
        raw = self._text[begin : self._first[tokens[-1] + 1]].tobytes()
        low, high = ((self._first[tokens + k] - begin).tolist() for k in (0, 1))
        return [_content(raw[i:j]) for i, j in zip(low, high, strict=True)]

    def _arrays(self) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
        return self._table, self._text, self._first

    def _make_room(self, n: int, n_byte: int) -> None:
        used = int(self._first[self._n])
        if used + n_byte > self._text.size:
            self._text = np.concatenate([self._text[:used], np.empty(used + n_byte, np.uint8)])
        if self._n + n + 1 > self._first.size:
            self._first = np.concatenate([self._first, np.zeros(self._n + n + 1, np.int64)])
        if 2 * (self._n + n) > self._table.size:
            table = np.full(1 << (4 * (self._n + n)).bit_length(), -1, np.int64)
            rehash(self._arrays(), self._n, table)
            self._table = table


def _content(raw: bytes) -> str:
    if b"\\" in raw or not raw.startswith(b'"'):
        return str(msgspec.json.decode(raw))
    return raw[1:-1].decode()


def number_keys(
    key: NDArray[np.int64], known: dict[int, int]
) -> tuple[NDArray[np.int64], list[int]]:
    """Give numbers to keys of which few are distinct, new ones after those known.

    Parameters
    ----------
    key : (n,) array of int64
        Keys.
    known : dict of int to int
        Numbers of keys, extended.

    Returns
    -------
    code : (n,) array of int64
        Number of each key.
    new : list of int
        Keys that were not known, in order of their numbers.

    Examples
    --------
    >>> number_keys(np.array([7, 9, 7]), {})[0].tolist()
    [0, 1, 0]
    """
    distinct, first, place = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    new = [k for k in distinct[order].tolist() if k not in known]
    for k in new:
        known[k] = len(known)
    return np.array([known[k] for k in distinct.tolist()], np.int64)[place], new
