"""Many bytes at once give what byte by byte gives; also with NUMBA_DISABLE_JIT=1."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loadpath.compiled import kernel
from loadpath.decode.byte_kernels import (
    PADDING,
    after_blank,
    after_digits,
    after_plain,
    byte_at,
    differing,
    word_at,
)

RUNS = {
    after_blank: b" \n\r\t",
    after_plain: bytes(c for c in range(32, 128) if c not in b'"\\'),
    after_digits: b"0123456789",
}


@kernel(borrows=True)
def after_runs(data, i):
    return after_blank(data, i), after_plain(data, i), after_digits(data, i)


@kernel(borrows=True)
def loaded(data, i):
    return byte_at(data, i), word_at(data, i)


@kernel(borrows=True)
def compared(data, i, other, j):
    return differing(data, i, other, j)


def padded(text):
    return np.frombuffer(text + bytes(PADDING), np.uint8)


@given(st.integers(0, 100), st.integers(0, 70), st.integers(0, 255))
@settings(deadline=None)
def test_run_ends_at_the_first_byte_of_another_class(n_before, n_run, stop):
    for place, members in enumerate(RUNS.values()):
        run = bytes(members[k % len(members)] for k in range(n_run))
        end = n_before + n_run if stop not in members else n_before + n_run + 1
        data = padded(b"x" * n_before + run + bytes([stop]))
        assert after_runs(data, n_before)[place] == end


def test_every_byte_is_of_the_class_that_json_says():
    for c in range(256):
        ends = after_runs(padded(bytes([c])), 0)
        assert [bool(end) for end in ends] == [c in members for members in RUNS.values()]


@given(st.binary(min_size=1, max_size=80), st.integers(0, 79))
@settings(deadline=None)
def test_bytes_are_loaded_from_any_place(text, i):
    whole = text + bytes(2 * PADDING)
    byte, word = loaded(padded(whole), i)
    assert (byte, word) == (whole[i], int.from_bytes(whole[i : i + 8], "little"))


@given(st.binary(min_size=80, max_size=80), st.sets(st.integers(0, PADDING - 1)), st.integers(0, 9))
@settings(deadline=None)
def test_bits_tell_which_bytes_differ(text, places, i):
    other = bytearray(text[i:])
    for place in places:
        other[place] ^= 1 + place % 200
    bits = int(compared(padded(text), i, padded(bytes(other)), 0))
    assert {k for k in range(PADDING) if bits >> k & 1} == places
