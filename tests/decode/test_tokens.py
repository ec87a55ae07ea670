import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loadpath.decode import Tokens, number_keys


def numbered(tokens, pieces):
    body = b"".join(pieces)
    high = np.cumsum([len(piece) for piece in pieces]).astype(np.int32)
    low = (high - [len(piece) for piece in pieces]).astype(np.int32)
    return tokens.codes(body, low, high).tolist()


@settings(deadline=None)
@given(st.lists(st.lists(st.binary(min_size=1, max_size=20), max_size=60), max_size=5))
def test_equal_pieces_have_equal_numbers_in_order_of_first_use(chunks):
    first: dict[bytes, int] = {}
    tokens = Tokens()
    for chunk in chunks:
        found = numbered(tokens, chunk)
        assert found == [first.setdefault(piece, len(first)) for piece in chunk]
    assert len(tokens) == len(first)


def test_many_tokens_outgrow_the_first_table():
    pieces = [b'"%d"' % i for i in range(20_000)]
    tokens = Tokens()
    assert numbered(tokens, pieces) == list(range(20_000))
    assert numbered(tokens, pieces[::-1]) == list(range(20_000))[::-1]
    assert tokens.text(19_999) == "19999"


def test_text_is_what_the_string_says():
    tokens = Tokens()
    numbered(tokens, [b'"a \\"b\\" \\\\"', b"-7.50", b'""', b'"7.50"'])
    assert [tokens.text(i) for i in range(4)] == ['a "b" \\', "-7.5", "", "7.50"]


def test_keys_are_numbered_across_calls():
    known: dict[int, int] = {}
    assert number_keys(np.array([9, 4, 9]), known)[0].tolist() == [0, 1, 0]
    code, new = number_keys(np.array([4, 5]), known)
    assert (code.tolist(), new) == ([1, 2], [5])


def test_a_piece_that_is_not_there_takes_no_room_wherever_it_would_end():
    tokens = Tokens()
    low, high = np.array([-1, 0], np.int32), np.array([2**30, 3], np.int32)
    assert tokens.codes(b'"a"', low, high).tolist() == [-1, 0]
    assert sum(array.nbytes for array in tokens._arrays()) < 1_000_000
