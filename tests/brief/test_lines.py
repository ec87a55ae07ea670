import pytest

from loadpath.brief.lines import entry, wrap


@pytest.mark.parametrize("unit", ["%", "s", "ms", "us", "ns", "kW"])
def test_number_stays_beside_its_unit(unit):
    for n in range(40, 70):
        lines = wrap("Head", f"{'x' * n} takes 12.5 {unit} of a step")
        assert any(f"12.5 {unit}" in line for line in lines)
        assert max(map(len, lines)) <= 80


def test_words_that_begin_like_a_unit_may_stand_on_the_next_line():
    lines = wrap("Head", f"{'x' * 57} of 12 steps")
    assert [line.split()[-1] for line in lines] == ["12", "steps"]


def test_long_entry_says_that_it_goes_on():
    lines = entry("Head", "word " * 100, 2)
    assert len(lines) == 2
    assert lines[-1].endswith(" ...")
    assert max(map(len, lines)) <= 80
