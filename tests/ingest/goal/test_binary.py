import re
import struct

import numpy as np
import pytest
from tests.ingest.goal.binary_form import binary

from loadpath.errors import InputError
from loadpath.ingest.goal import read_goal
from loadpath.ingest.goal.binary import read_binary
from loadpath.ingest.goal.text import read_text
from loadpath.testing.schedules import recursive_doubling

TEXT = b"""num_ranks 2
rank 0 {
a: calc 70 cpu 1
b: send 11b to 1 tag 7 nic 2
c: recv 5b from -1 tag -1
b requires a
c irequires b
c requires a
}
rank 1 {
recv 11b from 0 tag 7
send 5b to 0
}
"""
FIRST_NODE = 8 + 4 + 2 + 2 * 16 + 8 + 4
"""Where rank 0's first op begins: after head, jump table, two counts and one free op."""


def as_text(schedule):
    order = np.lexsort((schedule.edge_target, schedule.edge_on_start, schedule.edge_source))
    edges = (schedule.edge_source, schedule.edge_target, schedule.edge_on_start)
    columns = ("rank_start", "kind", "size", "peer", "tag", "cpu", "nic")
    return [getattr(schedule, c).tolist() for c in columns], [e[order].tolist() for e in edges]


@pytest.mark.parametrize("text", [TEXT, recursive_doubling(8, 4096).encode()])
def test_binary_form_holds_what_the_text_does(text, tmp_path):
    path = tmp_path / "a.goal"
    path.write_bytes(binary(read_text("a", text)))
    assert as_text(read_goal(path)) == as_text(read_text("a", text))


def test_an_op_of_a_binary_file_has_no_line():
    assert not read_binary("a", binary(read_text("a", TEXT))).line.any()


def damaged(place, form, *values):
    content = bytearray(binary(read_text("a", TEXT)))
    struct.pack_into(form, content, place, *values)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (struct.pack("<QI", 4223, 2), "a.goal: ends after 12 bytes, within its head"),
        (struct.pack("<Q", 2342), "a.goal: a simulation in place has used up this schedule"),
        (damaged(8, "<I", 1 << 31), "a.goal: 2147483648 ranks do not fit into"),
        (damaged(8, "<I", 0), "a.goal: 0 ranks do not fit into"),
        (damaged(14, "<Q", 1 << 60), "a.goal, rank 0: its place is not within the file"),
        (damaged(14, "<Q", 0), "a.goal, rank 0: its place is not within the file"),
        (damaged(30, "<QQ", 38, 227), "a.goal, rank 1: its place is also that of rank 0"),
        (damaged(46, "<I", 1 << 30), "a.goal, rank 0: 1073741824 ops and 1 free ones do not fit"),
        (damaged(54, "<I", 2), "a.goal, rank 0: the ops that may start at once are not those"),
        (
            damaged(FIRST_NODE + 4, "<b", 4),
            "a.goal, rank 0: an op is neither calc, send nor recv (op 0)",
        ),
        (
            damaged(FIRST_NODE + 39 + 5, "<I", 2),
            "a.goal, rank 0: a peer is not among the ranks (op 1)",
        ),
        (
            damaged(FIRST_NODE + 39 + 17, "<i", -1),
            "a.goal, rank 0: a send has no tag of its own (op 1)",
        ),
        (damaged(FIRST_NODE + 9, "<Q", 1 << 63), "a.goal, rank 0: a size is too large (op 0)"),
        (damaged(FIRST_NODE + 23, "<I", 9), "a.goal, rank 0: its list of requirements is cut"),
        (damaged(FIRST_NODE + 27, "<I", 9), "a.goal, rank 0: its list of requirements is cut"),
        (
            damaged(FIRST_NODE + 3 * 39, "<I", 3),
            "a.goal, rank 0: an op that is not there requires another",
        ),
        (
            damaged(FIRST_NODE + 39, "<I", 2),
            "a.goal, rank 0: ops do not say how many others they require",
        ),
    ],
)
def test_damage_is_named_with_its_rank(content, said):
    with pytest.raises(InputError, match=re.escape(said)):
        read_binary("a.goal", content)
