import polars as pl

from loadpath.brief.grid import grid


def test_cells_are_written_in_the_unit_of_their_column():
    table = pl.DataFrame(
        {
            "rank": [1024, -1],
            "n_waits": [1024, 3],
            "hops_mean": [2.4, 1.0],
            "slowdown_ratio": [1.5, float("nan")],
            "state": ["below_policy", "verdict"],
            "intermittent": [True, False],
            "ranks": [[0, 1], []],
        }
    )
    rows = [[cell.text for cell in row] for row in grid(table).rows]
    assert rows[0] == ["1024", "1,024", "2.40", "1.500", "below policy", "yes", "0, 1"]
    assert rows[1] == ["—", "3", "1.00", "not assessed", "verdict", "no", ""]


def test_rows_beyond_the_limit_are_counted():
    page = grid(pl.DataFrame({"rank": range(10)}), n_most=4)
    assert (len(page.rows), page.n_hidden) == (4, 6)


def test_a_long_name_is_cut_and_kept_as_title():
    cell = grid(pl.DataFrame({"op_class": ["a" * 3000]})).rows[0][0]
    assert len(cell.text) == 80
    assert cell.title == "a" * 3000


def test_a_number_that_is_not_given_is_a_dash():
    cell = grid(pl.DataFrame({"removal_ratio": [None]}, schema={"removal_ratio": pl.Float64}))
    assert cell.rows[0][0].text == "—"
