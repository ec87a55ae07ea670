from loadpath.ingest.goal.text import read_text
from loadpath.replay.simulation import simulate_schedule
from loadpath.replay.simulation.stall import stalled_chain


def chain(*ranks):
    blocks = [f"rank {r} {{\n" + "\n".join(lines) + "\n}\n" for r, lines in enumerate(ranks)]
    schedule = read_text("a", f"num_ranks {len(ranks)}\n{''.join(blocks)}".encode())
    return stalled_chain(schedule, simulate_schedule(schedule).served)


def test_a_schedule_that_ends_has_no_chain():
    assert chain(["calc 5"]) == []


def test_ranks_that_wait_for_each_other_are_named_in_a_circle():
    said = chain(
        ["a: recv 8b from 1", "b: send 8b to 1", "b requires a"],
        ["a: recv 8b from 0", "b: send 8b to 0", "b requires a"],
    )
    assert said == [
        "recv 8b from 1 tag 0 (rank 0, line 3) waits for send 8b to 0 tag 0 (rank 1, line 9)",
        "send 8b to 0 tag 0 (rank 1, line 9) waits for recv 8b from 0 tag 0 (rank 1, line 8)",
        "recv 8b from 0 tag 0 (rank 1, line 8) waits for send 8b to 1 tag 0 (rank 0, line 4)",
        "send 8b to 1 tag 0 (rank 0, line 4) waits for recv 8b from 1 tag 0 (rank 0, line 3)",
    ]


def test_a_message_that_nobody_sends_is_named():
    assert chain(["recv 8b from 1 tag 3"], ["send 8b to 0 tag 4"]) == [
        "recv 8b from 1 tag 3 (rank 0, line 3) waits for a send that no rank has"
    ]


def test_long_sends_to_each_other_stall():
    said = chain(
        ["a: send 99999b to 1", "b: recv 99999b from 1", "b requires a"],
        ["a: send 99999b to 0", "b: recv 99999b from 0", "b requires a"],
    )
    assert said[0] == (
        "send 99999b to 1 tag 0 (rank 0, line 3) waits for recv 99999b from 0 tag 0 (rank 1, line 9)"
    )


def test_what_follows_a_stalled_op_leads_to_it():
    said = chain(["a: recv 8b from 0", "b: calc 5", "c: calc 6", "b requires a", "c requires b"])
    assert said == ["recv 8b from 0 tag 0 (rank 0, line 3) waits for a send that no rank has"]


def test_a_long_circle_is_shortened():
    n = 40
    ranks = [
        [f"a: recv 8b from {(r - 1) % n}", f"b: send 8b to {(r + 1) % n}", "b requires a"]
        for r in range(n)
    ]
    said = chain(*ranks)
    assert len(said) == 13
    assert said[11] == "... 68 more"
