"""Samples of power beside traces: read as watts, or refused with the line."""

import pytest

from loadpath.errors import InputError
from loadpath.ingest.power import read_power

HEADER = "rank,time_ns,power_mw\n"


def test_milliwatts_are_read_as_watts(tmp_path):
    path = tmp_path / "power_rank3.csv"
    path.write_text(HEADER + "3,1700000000000000000,300500\n3, 1700000000020000000, 0\n")
    table = read_power([path])
    assert table["power_w"].to_list() == [300.5, 0.0]
    assert table["rank"].to_list() == [3, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("rank,power_mw\n0,1\n", "missing column 'time_ns'"),
        (HEADER + "0,17,1\n0,17\n", "line 3: power_mw is no whole number"),
        (HEADER + "0,17,-5\n", "line 2: power_mw"),
        (HEADER + "0,17,300.5\n", "line 2: power_mw"),
        (HEADER + "-1,17,3\n", "line 2: rank"),
        (HEADER + "0,99999999999999999999,3\n", "line 2: time_ns"),
    ],
)
def test_what_cannot_be_is_named_with_its_line(text, said, tmp_path):
    path = tmp_path / "power_rank0.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_power([path])
