import pytest

from loadpath.errors import InputError
from loadpath.ingest.run_table import read_runs


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "runs.csv"
        path.write_text(text)
        return read_runs(path)

    return read_text


def test_runs_keep_their_order_and_what_they_do_not_tell_is_empty(read):
    table = read("# our runs\nn, step_s,power_w\n16,2.5,\n8,4.75,5600\n")
    assert table.select("n", "step_s", "power_w", "tp").rows() == [
        (16, 2.5, None, None),
        (8, 4.75, 5600.0, None),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("n,step_s\n", "no rows"),
        ("n\n8\n", "missing column 'step_s'"),
        ("n,step_ms\n8,3\n", "unknown column 'step_ms'"),
        ("n,step_s\n8,1\n16,\n", "line 3: step_s is None"),
        ("n,step_s\n8,nan\n", "line 2: step_s is 'nan'"),
        ("n,step_s\n8,-1\n", "line 2: step_s is '-1'"),
        ("n,step_s\n# x\n8.5,1\n", "line 3: n is '8.5', not a whole number"),
        ("n,step_s,tp\n8,1,0\n", "line 2: tp is '0'"),
        ("n,step_s\n8,1e99\n", "line 2: step_s is '1e99'"),
        ("n,step_s\n8,1,7\n", "cannot be read"),
    ],
)
def test_what_cannot_be_a_run_is_refused_with_its_line(read, text, said):
    with pytest.raises(InputError) as refused:
        read(text)
    assert said in str(refused.value)


def test_all_problems_are_named_at_once(read):
    with pytest.raises(InputError) as refused:
        read("n,step_s,power_w\n0,1,5\n8,x,5\n8,1,-5\n")
    assert len(refused.value.problems) == 3
