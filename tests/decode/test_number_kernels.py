"""Numbers that the scan has found, against exact decimals."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.decode import read_thousandths
from loadpath.decode.number_kernels import MOST_WHOLE


def thousandths(text):
    data = np.frombuffer(text.encode(), np.uint8)
    ends = np.zeros(1, np.int32), np.full(1, data.size, np.int32)
    value, odd = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    read_thousandths(data, *ends, value, odd)
    return None if odd[0] else int(value[0])


@given(st.integers(-MOST_WHOLE, MOST_WHOLE), st.text("0123456789", max_size=8))
def test_thousandths_are_those_of_exact_decimals(whole, digits):
    text = f"{whole}.{digits}" if digits else str(whole)
    assert thousandths(text) == int((Decimal(text) * 1000).to_integral_value())


@pytest.mark.parametrize("text", ["1706850122853968", "1712195495519689.047"])
def test_microseconds_of_the_epoch_need_no_full_decoder(text):
    assert thousandths(text) == int(Decimal(text) * 1000)


@pytest.mark.parametrize("text", [str(MOST_WHOLE + 1), "9" * 16, "9" * 40, "1e6", "-", "1.5x"])
def test_what_is_no_plain_number_or_too_large_is_left_to_the_decoder(text):
    assert thousandths(text) is None
