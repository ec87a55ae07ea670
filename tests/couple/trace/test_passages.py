"""Posted sends and receives: rank 0 sends to rank 1, times in us.

rank 0   post 0 ......... looks 100 - done 110
rank 1   post -50, looks -40 ------------- done 30
"""

from types import SimpleNamespace
from typing import Any

import numpy as np

from loadpath.couple.trace.passages import completed_ends

US = 1_000


def passage(sent, received, payload=8):
    """Posts and ends of a message: (posted, looked, done) of both sides, in us."""
    return [
        (rank, role, payload, posted, looked, done)
        for (posted, looked, done), rank, role in ((sent, 0, "sender"), (received, 1, "receiver"))
    ]


def ends(*messages, open_us=0):
    """Completed ends of both sides of each message, in us."""
    parts = [
        (instance, rank, role, payload, start, end, is_end)
        for instance, message in enumerate(messages)
        for rank, role, payload, posted, looked, done in message
        for start, end, is_end in ((posted, posted, False), (looked, done, True))
    ]
    instance, rank, role, payload, start, end, is_end = (
        np.array(column) for column in zip(*parts, strict=True)
    )
    work = np.arange(len(parts))
    facts: Any = SimpleNamespace(
        work=work, rank=rank, bytes=payload, start=start * US, end=end * US,
        is_post=~is_end, is_end=is_end,
    )  # fmt: skip
    instances: Any = SimpleNamespace(
        work=work, fact=work, instance=instance, role=role.astype(object)
    )
    done = completed_ends(facts, instances, open_us * US) // US
    return [tuple(pair) for pair in done[is_end].reshape(-1, 2).tolist()]


def usual(at):
    """A message that takes 30 us, of which the receiver waits for all."""
    return passage((at, at + 1, at + 10), (at - 50, at - 40, at + 30))


def test_a_receive_that_is_marked_long_after_its_send_ended_took_what_is_usual():
    late = passage((5_000, 5_001, 5_010), (4_950, 4_960, 27_000))
    found = ends(*(usual(at) for at in range(0, 4_000, 1_000)), late)
    assert found[-1] == (5_010, 5_030)
    assert found[0] == (10, 30)


def test_a_link_that_is_slow_as_a_rule_keeps_its_passages():
    slow = [
        passage((at, at + 1, at + 10), (at - 50, at - 40, at + 900))
        for at in range(0, 9_000, 2_000)
    ]
    assert [received for _, received in ends(*slow)] == [900, 2_900, 4_900, 6_900, 8_900]


def test_payloads_have_passages_of_their_own():
    large = [
        passage((at, at + 1, at + 10), (at - 50, at - 40, at + 900), 64)
        for at in range(10_000, 19_000, 2_000)
    ]
    found = ends(*(usual(at) for at in range(0, 8_000, 1_000)), *large)
    assert found[-1] == (18_010, 18_900)


def test_with_few_passages_the_end_of_the_send_tells():
    late = passage((0, 1, 10), (-50, -40, 22_000))
    assert ends(late) == [(10, 10)]


def test_a_send_is_complete_when_it_was_received():
    late = passage((5_000, 5_001, 9_000), (4_950, 4_960, 5_030))
    found = ends(*(usual(at) for at in range(0, 4_000, 1_000)), late)
    assert found[-1] == (5_030, 5_030)


def test_what_lay_ready_when_the_receiver_looked_took_nothing():
    # the receiver looks 3 ms after the send ended, and then loses its processor
    late = passage((5_000, 5_001, 5_010), (4_950, 8_000, 9_000))
    assert ends(*(usual(at) for at in range(0, 4_000, 1_000)), late)[-1] == (5_010, 8_000)


def test_a_passage_begins_when_both_sides_have_posted():
    # the receive is posted 2 ms after the send; the send waits for it
    met = passage((5_000, 5_001, 7_020), (7_000, 7_001, 7_031))
    assert ends(*(usual(at) for at in range(0, 4_000, 1_000)), met)[-1] == (7_020, 7_031)


def test_what_clocks_leave_open_makes_no_record_late():
    late = passage((5_000, 5_001, 5_010), (4_950, 4_960, 5_500))
    others = [usual(at) for at in range(0, 4_000, 1_000)]
    assert ends(*others, late, open_us=300)[-1] == (5_010, 5_030)
    assert ends(*others, late, open_us=400)[-1] == (5_010, 5_500)
