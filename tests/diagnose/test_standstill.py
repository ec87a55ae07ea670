"""How long ranks that look missing had been silent, beside their silences before."""

import polars as pl
import pytest

from loadpath.diagnose.standstill import ordinary_silence


def asked(**ranks):
    rows = [(int(name[1:]), time) for name, times in ranks.items() for time in times]
    return pl.DataFrame(rows, ["rank", "created_ns"], orient="row")


# rank 2 asked at 0, 30, 40 and 60: its longest silence is 30
CALLS = asked(r0=[0, 31, 41, 61, 90], r2=[60, 0, 40, 30])


def test_a_silence_as_long_as_before_is_ordinary():
    assert ordinary_silence(CALLS, [2], {0: 95, 2: 90}) == (2, 30, 30)


@pytest.mark.parametrize(
    ("missing", "written"),
    [
        ([2], {2: 91}),  # longer than ever
        ([2], {0: 95}),  # no dump
        ([2], {2: 59}),  # on another clock
        ([0, 2], {0: 95, 2: 400}),  # one of both is silent for longer
        ([], {2: 90}),
    ],
)
def test_what_is_longer_or_not_known_is_no_ordinary_silence(missing, written):
    assert ordinary_silence(CALLS, missing, written) is None


def test_two_calls_do_not_tell_what_is_usual():
    assert ordinary_silence(asked(r2=[0, 30]), [2], {2: 31}) is None


def test_the_longest_silence_of_several_ranks_is_told():
    calls = asked(r1=[0, 50, 60], r2=[0, 30, 60])
    assert ordinary_silence(calls, [1, 2], {1: 105, 2: 70}) == (1, 45, 50)
