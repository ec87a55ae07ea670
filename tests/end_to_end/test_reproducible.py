import pytest
from tests.end_to_end.commands import run


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.slow
@pytest.mark.parametrize("source", ["table", "traces"])
def test_audit_has_the_same_bytes_at_any_thread_count_and_hash_seed(request, tmp_path, source):
    records = request.getfixturevalue(source)
    found = []
    for count in ("1", "2"):
        folder = tmp_path / count
        folder.mkdir()
        answer = run(
            *("audit", records, "--out", "job", "--as-of", "2026-01-02"),
            folder=folder,
            POLARS_MAX_THREADS=count,
            NUMBA_NUM_THREADS=count,
            PYTHONHASHSEED=count,
        )
        assert answer.code == 0, answer.err
        found.append((answer.out, contents(folder / "job")))
    (first_text, first), (second_text, second) = found
    assert first_text == second_text
    assert [name for name in first if first[name] != second.get(name)] == []
    assert first.keys() == second.keys()
