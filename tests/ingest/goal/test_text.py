import re

import numpy as np
import pytest

from loadpath.errors import InputError
from loadpath.ingest.goal import read_goal
from loadpath.ingest.goal.text import read_text
from loadpath.tables.schedule import ANY, CALC, RECV, SEND


def one_rank(*lines):
    return "\n".join(["num_ranks 2", "rank 0 {", *lines, "}", "rank 1 {", "}", ""]).encode()


def test_ops_are_read_with_all_that_is_said_of_them():
    schedule = read_text(
        "a.goal",
        one_rank(
            "a: calc 70 cpu 2",
            "send 11b to 1 tag 7 cpu 1 nic 3",
            "recv 12b from -1 tag -1",
            "recv 13b from 1",
        ),
    )
    assert schedule.kind.tolist() == [CALC, SEND, RECV, RECV]
    assert schedule.size.tolist() == [70, 11, 12, 13]
    assert schedule.peer.tolist() == [0, 1, ANY, 1]
    assert schedule.tag.tolist() == [0, 7, ANY, 0]
    assert schedule.cpu.tolist() == [2, 1, 0, 0]
    assert schedule.nic.tolist() == [0, 3, 0, 0]
    assert schedule.line.tolist() == [3, 4, 5, 6]
    assert schedule.rank_start.tolist() == [0, 4, 4]


def test_requirements_keep_the_order_of_the_file():
    schedule = read_text(
        "a.goal",
        one_rank(
            "a: calc 1", "b: calc 2", "c: calc 3", "c requires b", "c irequires a", "b requires a"
        ),
    )
    edges = (schedule.edge_source, schedule.edge_target, schedule.edge_on_start)
    assert [column.tolist() for column in edges] == [[1, 0, 0], [2, 2, 1], [False, True, False]]


def test_labels_belong_to_their_rank():
    text = b"num_ranks 2\nrank 0 {\na: calc 1\n}\nrank 1 {\na: calc 2\nb: calc 3\nb requires a\n}\n"
    schedule = read_text("a.goal", text)
    assert (schedule.edge_source.tolist(), schedule.edge_target.tolist()) == ([1], [2])


def test_comments_blanks_and_line_ends_of_other_systems_are_skipped():
    text = b"/* two\nlines */ num_ranks 1 // one\r\nrank 0{\r\n\r\n\ta :calc\t5 // five\r\n/**/}\r\n\r\n"
    schedule = read_text("a.goal", text)
    assert (schedule.size.tolist(), schedule.line.tolist()) == ([5], [5])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("calc", "a whole number is wanted, not the end of the line"),
        ("calc -5", "a whole number is wanted, not '-5'"),
        ("calc 99999999999999999999", "the number '99999999999999999999' is too large"),
        ("calc 5 nic 1", "the end of the line is wanted, not 'nic'"),
        ("calc 5 cpu 256", "the number '256' is too large"),
        ("calc 5 cpu 1 cpu 2", "the end of the line is wanted, not 'cpu'"),
        ("send 5 to 1", "'b' (bytes) is wanted after the size, not 'to'"),
        ("send 5b from 1", "'to' is wanted, not 'from'"),
        ("recv 5b to 1", "'from' is wanted, not 'to'"),
        ("send 5b to 2", "rank '2' is not among the 2 ranks"),
        ("send 5b to -1", "a whole number is wanted, not '-1'"),
        ("send 5b to 1 tag -1", "a send needs a tag of its own, not '-1'"),
        ("recv 5b from 1 tag 4294967295", "the number '4294967295' is too large"),
        ("a requires b", "the label 'a' is not defined above in its rank"),
        ("a calc 5", "':', 'requires' or 'irequires' is wanted, not 'calc'"),
        ("a: copy 5", "'calc', 'send' or 'recv' is wanted, not 'copy'"),
        ("rank 1 {", "rank 0 is not closed with '}'"),
        ("num_ranks 2", "'num_ranks' stands twice"),
        ("%", "'%' is no statement"),
        ("/* open", "a comment has no end"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_wrong(line, said):
    with pytest.raises(InputError, match=re.escape(f"a.goal, line 4: {said}.")):
        read_text("a.goal", one_rank("calc 1", line))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "line 1: the file does not begin with 'num_ranks'"),
        (b"rank 0 {\n}", "line 1: the file does not begin with 'num_ranks'"),
        (b"num_ranks 0\n", "line 1: the file does not begin with 'num_ranks'"),
        (b"num_ranks 2\nrank 1 {\n}", "line 2: rank 0 is next, not '1'"),
        (b"num_ranks 2\nrank 0 {\n}\n", "line 4: the file ends within or after rank 0 of 2 ranks"),
        (b"num_ranks 1\nrank 0 {\n}\nrank 1 {\n}", "line 4: 'rank' follows the last of 1 ranks"),
        (b"num_ranks 1\ncalc 5\n", "line 2: 'calc' stands outside all ranks"),
        (b"num_ranks 1\nrank 0\n{\n}", "line 2: '{' is wanted, not the end of the line"),
        (
            b"num_ranks 1\nrank 0 {\na: calc 1\na: calc 2\n}",
            "line 4: the label 'a' is defined already in line 3",
        ),
    ],
)
def test_what_a_file_lacks_is_said(text, said):
    with pytest.raises(InputError, match=re.escape(said)):
        read_text("a.goal", text)


def test_many_labels_are_kept_apart():
    lines = [f"label_{i}: calc {i}" for i in range(5000)]
    lines += [f"label_{i + 1} requires label_{i}" for i in range(4999)]
    schedule = read_text("a.goal", one_rank(*lines))
    assert np.array_equal(schedule.edge_target, np.arange(1, 5000))
    assert np.array_equal(schedule.edge_source, np.arange(4999))


def test_braces_in_comments_do_not_hide_labels():
    lines = b"".join(b"// {\nlabel%d: calc %d\n" % (i, i) for i in range(5000))
    schedule = read_text("a.goal", b"num_ranks 1\nrank 0 {\n" + lines + b"}\n")
    assert schedule.size.tolist() == list(range(5000))


def test_a_file_names_itself_and_its_digest(tmp_path):
    path = tmp_path / "a.goal"
    path.write_bytes(one_rank("calc 5"))
    schedule = read_goal(path)
    assert (schedule.name, schedule.inputs[0][0], schedule.inputs[0][2]) == ("a.goal", "a.goal", 41)
