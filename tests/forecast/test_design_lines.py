"""Lines of keys in TOML."""

from loadpath.forecast.design_lines import find_lines, line_of


def test_keys_of_tables_and_lists_of_tables_have_lines():
    text = "a = 1\n[t]\nb = 2\n[[t.u]]\nc = 3\n[[t.u]]\nc = 4\n[t.u.v]\nd = 5\n"
    lines = find_lines(text)
    assert lines["a",] == 1
    assert lines["t", "b"] == 3
    assert lines["t", "u", 0, "c"] == 5
    assert lines["t", "u", 1, "c"] == 7
    assert lines["t", "u", 1, "v", "d"] == 9


def test_text_of_several_lines_holds_no_keys():
    assert ("b",) not in find_lines('a = """\nb = 1\n"""\nc = 2\n')


def test_dotted_and_quoted_keys_have_lines():
    lines = find_lines('t."a b".c = 1\n')
    assert lines["t", "a b", "c"] == 1


def test_value_without_a_line_has_that_of_the_table_around_it():
    lines = find_lines("[t]\nb = { c = 1 }\n")
    assert line_of(lines, ("t", "b", "c")) == 2
    assert line_of(lines, ("u",)) is None
