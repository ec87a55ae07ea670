"""Parquet files whose headers claim more than there is."""

import contextlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.decode.parquet_headers import check_headers
from loadpath.decode.table_file import read_table
from loadpath.errors import InputError

FIRST_PAGE = 4
LONG_LIST = b"\x19\xf8" + b"\xff" * 8 + b"\x1f"
"""Field 1, a list of some 2^61 structs."""


def written(path, **options):
    rows = range(3000)
    table = pl.DataFrame(
        {
            "step": rows,
            "name": [f"op {k % 7}" for k in rows],
            "parts": [[k, k + 1] for k in rows],
            "pair": [{"a": k, "b": None} for k in rows],
            "share": [k / 7 for k in rows],
        }
    )
    table.write_parquet(path, **options)
    return table


@pytest.mark.parametrize("compression", ["zstd", "snappy", "lz4", "gzip", "brotli", "uncompressed"])
@pytest.mark.parametrize("rows", [None, 100])
def test_sound_files_pass(tmp_path, compression, rows):
    path = tmp_path / "a.parquet"
    table = written(path, compression=compression, row_group_size=rows, data_page_size=512)
    check_headers(path)
    assert read_table(path).equals(table)


def test_words_beyond_those_of_a_row_group_pass(tmp_path):
    path = tmp_path / "a.parquet"
    words = pl.Categorical(pl.Categories("words"))
    table = pl.DataFrame({"name": [f"op {k}" for k in range(500)]}, schema={"name": words})
    table[:3].write_parquet(path, row_group_size=2)
    check_headers(path)
    assert read_table(path).equals(table[:3])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet file at all", b"PAR1" * 4])
def test_other_files_are_left_to_their_reader(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    check_headers(path)


def test_a_list_longer_than_the_file_is_refused_before_memory_is_asked_for(tmp_path):
    path = tmp_path / "a.parquet"
    written(path)
    content = bytearray(path.read_bytes())
    content[FIRST_PAGE : FIRST_PAGE + len(LONG_LIST)] = LONG_LIST
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: damaged: a header claims more"):
        read_table(path)


@given(st.data())
def test_damage_is_refused_or_passed_on(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    written(path, row_group_size=1000)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 1] = data.draw(st.binary(max_size=6))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        check_headers(path)
