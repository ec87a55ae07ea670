"""Hangs in hand-drawn dumps: who never came, and what follows from it."""

import polars as pl
import pytest

from loadpath.diagnose.flight_groups import group_members
from loadpath.diagnose.hang import find_hangs, open_calls, ranks_behind
from loadpath.tables import FLIGHT, FLIGHT_GROUP


def calls(*rows):
    """Rows of (rank, group, sequence, created, and what differs)."""
    schema = FLIGHT.schema
    made = []
    for rank, group, sequence, created, *rest in rows:
        said = rest[0] if rest else {}
        plain = {"rank": rank, "group": group, "members": [], "collective": "all_reduce",
                 "sequence": sequence, "created_ns": created, "is_p2p": False, "peer": -1,
                 "is_done": False, "size": "8", "data_type": "Float", "state": "scheduled"}  # fmt: skip
        made.append(plain | said)
    return FLIGHT.build(pl.DataFrame(made, {k: schema[k] for k in made[0]}))


def groups(ranks, **members):
    """Every rank lists every group that it is in; its number for it is that of the order."""
    rows = [
        (rank, name, "", who, number, -1, -1)
        for number, (name, who) in enumerate(members.items())
        for rank in ranks
        if rank in who
    ]
    return FLIGHT_GROUP.build(pl.DataFrame(rows, FLIGHT_GROUP.schema, orient="row"))


DONE = {"is_done": True}


def stops(flight, group):
    table = find_hangs(flight, group)
    return [
        (row["group"], row["sequence"], row["reason"], row["missing_ranks"], row["waiting_ranks"])
        for row in table.iter_rows(named=True)
    ]


def test_the_member_that_never_asked_is_missing():
    flight = calls((0, "g", 7, 10), (1, "g", 7, 11), (2, "g", 6, 5, DONE))
    assert stops(flight, groups([0, 1, 2], g=[0, 1, 2])) == [("g", 7, "missing", [2], [0, 1])]


def test_nothing_stands_still_where_all_asked():
    flight = calls((0, "g", 7, 10), (1, "g", 7, 11), (2, "g", 7, 12))
    assert stops(flight, groups([0, 1, 2], g=[0, 1, 2])) == []


def test_an_older_entry_that_is_absent_was_evicted():
    flight = calls((0, "g", 6, 1, DONE), (0, "g", 7, 10), (1, "g", 7, 11))
    assert stops(flight, groups([0, 1], g=[0, 1])) == []


def test_peers_that_still_work_on_earlier_calls_do_not_wait():
    # rank 1 has asked for less, but 5, which everybody asked for, has not ended: the job runs
    flight = calls(*((0, "g", n, n) for n in (5, 6, 7)), (0, "g", 4, 4, DONE), (1, "g", 5, 5),
                   (1, "g", 4, 4, DONE))  # fmt: skip
    group = groups([0, 1], g=[0, 1])
    assert stops(flight, group) == []


def test_a_member_without_a_dump_is_missing():
    flight = calls((0, "g", 7, 10), (1, "g", 7, 11), (0, "g", 6, 5, DONE), (1, "g", 6, 5, DONE))
    assert stops(flight, groups([0, 1], g=[0, 1, 2])) == [("g", 7, "missing", [2], [0, 1])]


def test_a_cause_comes_before_what_follows_from_it():
    # rank 1 waits for rank 2 in "b" and so never comes to "a", which was asked for earlier
    flight = calls((0, "a", 3, 1), (1, "b", 5, 9), (1, "a", 2, 0, DONE), (2, "b", 4, 0, DONE))
    table = find_hangs(flight, groups([0, 1, 2], a=[0, 1], b=[1, 2]))
    assert table["group"].to_list() == ["b", "a"]
    assert table["causes"].to_list() == [[], [0]]


def test_among_causes_the_first_asked_for_leads():
    flight = calls((0, "a", 3, 8), (1, "b", 5, 4), (2, "a", 2, 0, DONE), (2, "b", 4, 0, DONE))
    table = find_hangs(flight, groups([0, 1, 2], a=[0, 2], b=[1, 2]))
    assert table["group"].to_list() == ["b", "a"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("collective", "broadcast", "different_collective"),
        ("size", "4", "different_size"),
        ("data_type", "Half", "different_data_type"),
    ],
)
def test_the_few_that_ask_for_something_else_are_named(column, value, reason):
    other = {column: value}
    flight = calls((0, "g", 7, 1), (1, "g", 7, 2, other), (2, "g", 7, 3))
    assert stops(flight, groups([0, 1, 2], g=[0, 1, 2])) == [("g", 7, reason, [1], [0, 2])]


def test_of_two_that_disagree_neither_is_picked():
    flight = calls((0, "g", 7, 1), (1, "g", 7, 2, {"collective": "broadcast"}))
    assert stops(flight, groups([0, 1], g=[0, 1])) == [("g", 7, "different_collective", [0, 1], [])]


def test_sizes_of_an_all_to_all_may_differ():
    uneven = {"collective": "all_to_all"}
    flight = calls((0, "g", 7, 1, uneven), (1, "g", 7, 2, uneven | {"size": "9"}))
    assert stops(flight, groups([0, 1], g=[0, 1])) == []


def test_a_receive_without_a_send_waits_for_the_sender():
    receive = {"collective": "recv", "is_p2p": True, "peer": 1}
    flight = calls((0, "g", 7, 1, receive), (1, "g", 7, 1, DONE))
    assert stops(flight, groups([0, 1], g=[0, 1])) == [("g", 7, "missing", [1], [0])]


def test_a_send_and_its_receive_under_way_stand_for_each_other():
    flight = calls(
        (0, "g", 7, 1, {"collective": "recv", "is_p2p": True, "peer": 1}),
        (1, "g", 3, 1, {"collective": "send", "is_p2p": True, "peer": 0}),
    )
    assert stops(flight, groups([0, 1], g=[0, 1])) == []


def test_a_group_without_entries_on_a_rank_is_told_by_its_peers_number():
    # rank 2 evicted all entries of "g" but says that its group number 0 came to 7, as all did
    flight = calls((0, "g", 7, 1), (1, "g", 7, 2), (2, "other", 1, 1, DONE))
    listed = [(r, "g", "", [0, 1, 2], 0 if r < 2 else -1, 7, 6) for r in (0, 1, 2)]
    listed[2] = (2, "g", "", [0, 1, 2], -1, -1, -1)
    own: list[tuple[object, ...]] = [(2, "", "", [], 0, 7, 6)]
    group = FLIGHT_GROUP.build(pl.DataFrame(listed + own, FLIGHT_GROUP.schema, orient="row"))
    assert stops(flight, group) == []


def test_a_device_that_failed_takes_with_it_what_was_asked_of_it():
    # ranks 0 and 1 ended 5 of the 7 that rank 2 asked for; rank 2 saw only 4 of them end
    ended = [(rank, "g", number, number, DONE) for rank in (0, 1) for number in (4, 5)]
    asked = [(rank, "g", number, number) for rank in (0, 1) for number in (6, 7, 8)]
    failed = [(2, "g", 4, 4, DONE), *((2, "g", number, number) for number in (5, 6, 7))]
    flight = calls(*ended, *asked, *failed)
    assert stops(flight, groups([0, 1, 2], g=[0, 1, 2])) == [("g", 8, "missing", [2], [0, 1])]


@pytest.mark.parametrize("collective", ["all_gather", "reduce_scatter"])
def test_parts_of_a_gather_are_of_one_size(collective):
    said = {"collective": collective, "size": "8->32"}
    odd = said | {"size": "4->16"}
    flight = calls((0, "g", 3, 1, said), (1, "g", 3, 2, said), (2, "g", 3, 3, odd))
    assert stops(flight, groups([0, 1, 2], g=[0, 1, 2])) == [
        ("g", 3, "different_size", [2], [0, 1])
    ]


def test_sizes_that_differed_in_what_ended_were_allowed():
    # an uneven gather goes by broadcasts, each rank from its own tensor
    parts = [
        (r, "g", 3, r, {"collective": "broadcast", "size": f"{8 + r}->8"} | DONE) for r in (0, 1, 2)
    ]
    flight = calls(*parts, (0, "g", 4, 10), (1, "g", 4, 11))
    assert stops(flight, groups([0, 1, 2], g=[0, 1, 2])) == [("g", 4, "missing", [2], [0, 1])]


def test_a_batch_that_the_ring_lost_in_part_is_compared_by_its_last_call():
    whole = [(0, "g", 3, 1, {"size": "8"}), (0, "g", 3, 2, {"size": "16"})]
    flight = calls(*whole, (1, "g", 3, 2, {"size": "16"}))
    assert stops(flight, groups([0, 1], g=[0, 1])) == []


def test_of_two_groups_the_one_that_waiting_ranks_asked_for_first_leads_whatever_clocks_say():
    # rank 3's clock is ahead of the others': by time group b, in which only it waits earlier, would lead
    flight = calls(
        (0, "a", 5, 100), (0, "b", 5, 200), (1, "a", 5, 101), (1, "b", 5, 201), (3, "b", 5, 1)
    )  # fmt: skip
    group = groups([0, 1, 2, 3], a=[0, 1, 2], b=[0, 1, 2, 3])
    assert [stop[0] for stop in stops(flight, group)] == ["a", "b"]


def test_shapes_of_a_gather_tell_a_rank_beyond_the_last_dump():
    told = {"collective": "all_gather", "size": "8->4x8"}
    flight = calls(*((rank, "0", 5, rank, told | DONE) for rank in (0, 1, 2)))
    rows = [(rank, "0", "default_pg", list[int](), 0, -1, -1) for rank in (0, 1, 2)]
    group = FLIGHT_GROUP.build(pl.DataFrame(rows, FLIGHT_GROUP.schema, orient="row"))
    assert group_members(flight, group)["members"].to_list() == [[0, 1, 2, 3]]


def test_of_calls_that_all_asked_for_it_is_told_whose_device_had_not_begun_them():
    ran = {"state": "started"}
    flight = calls((0, "g", 7, 1, ran), (1, "g", 7, 2), (2, "g", 7, 3, ran), (0, "g", 8, 9))
    (call,) = open_calls(flight)
    assert (call.group, call.sequence, call.begun, call.waiting) == ("g", 7, (0, 2), (1,))
    assert open_calls(calls((0, "g", 7, 1, DONE))) == []


def test_of_peers_that_do_not_wait_yet_it_is_told_who_asked_for_less():
    flight = calls(
        *((rank, "g", number, number) for rank in (0, 1) for number in (6, 7, 8)),
        *((2, "g", number, number) for number in (6, 7)),
        *((rank, "g", 5, 5, DONE) for rank in (0, 1, 2)),
    )
    group = groups([0, 1, 2], g=[0, 1, 2])
    assert stops(flight, group) == []
    assert ranks_behind(flight, group) == [2]


def test_a_rank_of_which_nothing_is_known_is_not_called_missing():
    # rank 2 left a dump that cannot be read; rank 1 waits for rank 3 in another group
    flight = calls(
        *((rank, "g", 6, 5, DONE) for rank in (0, 1)),
        *((rank, "g", 7, 10) for rank in (0, 1)),
        (1, "h", 3, 9),
        (1, "h", 2, 4, DONE),
        (3, "h", 2, 4, DONE),
    )
    group = groups([0, 1, 3], g=[0, 1, 2], h=[1, 3])
    found = find_hangs(flight, group, [2])
    assert found.select("group", "missing_ranks").rows() == [("h", [3])]
    assert find_hangs(flight, group)["group"].to_list() == ["h", "g"]


def test_a_dump_from_before_its_rank_asked_is_not_one_of_a_missing_rank():
    # rank 2 was dumped before it asked for 7, which rank 0 saw end for all; rank 1 was dumped in between
    ended = {"is_done": True, "state": "completed"}
    flight = calls((0, "g", 7, 10, ended), (1, "g", 7, 11), (2, "g", 6, 5, ended))
    group = groups([0, 1, 2], g=[0, 1, 2])
    assert stops(flight, group) == []
    broadcast = flight.with_columns(collective=pl.lit("broadcast"))
    # who gives may leave a broadcast before all have come
    assert stops(broadcast, group) == [("g", 7, "missing", [2], [1])]
