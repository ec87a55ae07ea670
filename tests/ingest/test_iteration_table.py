import pytest

from loadpath.errors import InputError
from loadpath.ingest.iteration_table import read_iterations

HEAD = "tokens,cached_tokens,prompt_pairs,step_s"


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "iterations.csv"
        path.write_text(text)
        return read_iterations(path)

    return read_text


def test_iterations_without_cache_or_prompt_are_sound(read):
    table = read(f"{HEAD},tensor\n64,0,0,0.02,8\n2048,0,2e6,0.15,\n")
    assert table.rows() == [(64, 0, 0.0, 0.02, 8), (2048, 0, 2e6, 0.15, None)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0,0,0,0.1", "line 2: tokens is '0', not a whole number from 1"),
        ("1,-1,0,0.1", "line 2: cached_tokens is '-1'"),
        ("1,0,,0.1", "line 2: prompt_pairs is None"),
        ("1,0,0,0", "line 2: step_s is '0', not above 0"),
        ("1,0,0,inf", "line 2: step_s is 'inf'"),
    ],
)
def test_what_cannot_be_an_iteration_is_refused_with_its_line(read, row, said):
    with pytest.raises(InputError) as refused:
        read(f"{HEAD}\n{row}\n")
    assert said in str(refused.value)


def test_missing_columns_are_named_at_once(read):
    with pytest.raises(
        InputError, match=r"missing column 'cached_tokens'.*missing column 'step_s'"
    ):
        read("tokens,prompt_pairs\n1,1\n")
