import polars as pl
import pytest

from loadpath.decode import table_file
from loadpath.decode.table_file import read_cells, read_table
from loadpath.errors import InputError


def test_tables_of_both_formats_are_read(tmp_path):
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")
    assert read_table(tmp_path / "a.parquet").equals(read_table(tmp_path / "a.csv"))


def test_small_file_with_very_many_rows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "FREE_BYTES", 1000)
    pl.select(a=pl.repeat(0, 1_000_000)).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: 1000000 rows expand more than 400 times"):
        read_table(tmp_path / "a.parquet")


def test_line_of_a_mebibyte_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n1," + b"x" * (3 << 20))
    with pytest.raises(InputError, match=r"a\.csv: a line of 1 MiB and more"):
        read_table(tmp_path / "a.csv")


def test_cells_are_read_as_they_stand(tmp_path):
    (tmp_path / "a.csv").write_text("rank,host\n007,\n1, b\n")
    assert read_cells(tmp_path / "a.csv", "Give one.").rows() == [("007", None), ("1", " b")]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2,3\n", b"a\n\xff\xfe\n"])
def test_what_is_no_csv_is_refused_with_the_remedy(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.csv: cannot be read \(.*\)\. Give one\."):
        read_cells(tmp_path / "a.csv", "Give one.")
