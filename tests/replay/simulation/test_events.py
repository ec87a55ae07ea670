import numpy as np
import pytest

from loadpath.couple.loggops import LogGOPS
from loadpath.errors import InputError, UsageError
from loadpath.ingest.goal.text import read_text
from loadpath.replay.simulation import Noise, simulate_schedule
from loadpath.testing.schedules import all_to_all, stencil

# worked by hand: docs/formats/simulate.md
TINY = """num_ranks 2
rank 0 {
a: calc 1000
b: send 11b to 1 tag 7
c: calc 500
b requires a
c requires b
}
rank 1 {
a: recv 11b from 0 tag 7
b: calc 300
b requires a
}
"""


def finish(text, noise=None, **model):
    run = simulate_schedule(read_text("a.goal", text.encode()), LogGOPS(**model), noise)
    assert run.served.done.all()
    return run.finish_ns.tolist()


def two_ranks(first, second):
    return "\n".join(["num_ranks 2", "rank 0 {", *first, "}", "rank 1 {", *second, "}", ""])


def test_a_message_costs_overhead_latency_and_its_bytes():
    assert finish(TINY) == [3000, 6860]


def test_a_long_message_holds_its_sender_until_it_meets_its_receive():
    assert finish(TINY, S=10) == [5500, 6860]


def test_fractions_of_a_ns_per_byte_are_kept_to_whole_ps():
    # 10 bytes beyond the first at 0.25 ns: 2 ns, rounded down
    assert finish(TINY, G=0.25) == [3000, 5000 + 1500 + 2 + 300]


def test_time_per_byte_on_the_processor_delays_sender_and_receiver():
    assert finish(TINY, O=20) == [1000 + 1500 + 200 + 500, 5000 + 1500 + 200 + 300]


def test_the_gap_between_messages_holds_back_the_next_send():
    sends = two_ranks(["send 1b to 1", "send 1b to 1"], ["recv 1b from 0", "recv 1b from 0"])
    # second send at 9000, there at 9000 + 1500 + 2500
    assert finish(sends, g=9000) == [10500, 13000 + 1500]


def test_the_gap_holds_the_receiver_too_when_no_receive_is_posted():
    sends = two_ranks(
        ["send 1b to 1 cpu 0", "send 1b to 1 cpu 1 nic 1"],
        [
            "a: calc 90000 cpu 2",
            "b: recv 1b from 0",
            "c: recv 1b from 0",
            "b requires a",
            "c requires b",
        ],
    )
    run = simulate_schedule(read_text("a", sends.encode()), LogGOPS(g=50000))
    # messages on interfaces of their own do not wait for each other
    assert run.served.start_ns[5:7].tolist() == [4000, 4000]


def test_a_receive_of_any_sender_and_tag_takes_the_first_message():
    text = two_ranks(
        ["a: calc 9000", "b: send 1b to 1 tag 4", "b requires a"],
        ["recv 1b from 0 tag -1", "recv 1b from -1 tag 5", "send 1b to 1 tag 5"],
    )
    run = simulate_schedule(read_text("a", text.encode()))
    # its own message, of tag 5, comes first, but from another sender than the first receive wants
    assert run.served.match.tolist() == [-1, -1, 1, 4, -1]


def test_messages_of_one_tag_meet_receives_in_their_order():
    text = two_ranks(["send 1b to 1", "send 2b to 1"], ["recv 1b from 0", "recv 2b from 0"])
    run = simulate_schedule(read_text("a", text.encode()))
    assert run.served.match.tolist() == [-1, -1, 0, 1]


def test_an_op_may_require_only_the_start_of_another():
    lines = ["a: recv 1b from 1", "b: calc 50", "b irequires a"]
    assert finish(two_ranks(lines, ["c: calc 9000", "d: send 1b to 0", "d requires c"]))[0] == 14500
    run = simulate_schedule(
        read_text(
            "a", two_ranks(lines, ["c: calc 9000", "d: send 1b to 0", "d requires c"]).encode()
        )
    )
    assert run.served.start_ns[1] == 0


def test_ops_that_become_free_together_begin_with_sends():
    text = two_ranks(
        ["calc 100", "recv 1b from 1", "send 1b to 1"], ["recv 1b from 0", "send 1b to 0"]
    )
    run = simulate_schedule(read_text("a", text.encode()))
    assert run.served.order[:2].tolist() == [2, 1]
    assert run.served.start_ns[0] == 1500


def test_many_ops_that_wait_for_one_processor_are_served_in_their_order():
    text = "num_ranks 1\nrank 0 {\n" + "".join(f"calc {i}\n" for i in range(20000)) + "}\n"
    run = simulate_schedule(read_text("a", text.encode()))
    assert np.array_equal(run.served.order, np.arange(20000))
    assert run.makespan_ns == sum(range(20000))


def test_noise_of_an_op_and_of_a_message_delays_what_follows():
    extra = np.zeros(10, np.int64)
    extra[[0, 5 + 1]] = 40, 7
    assert finish(TINY, Noise(extra_ns=extra)) == [3040, 6860 + 47]


def test_the_same_schedule_has_the_same_times():
    text = stencil(8, 10, 1000, jitter=0.2)
    assert finish(text) == finish(text)


def test_each_message_is_served_once_even_where_all_send_to_all():
    run = simulate_schedule(read_text("a", all_to_all(16, 64).encode()))
    assert run.n_event == run.served.order.size == 16 * 15 * 3
    assert np.unique(run.served.order).size == run.n_event


def test_an_empty_schedule_takes_no_time():
    run = simulate_schedule(read_text("a", b"num_ranks 2\nrank 0 {\n}\nrank 1 {\n}\n"))
    assert (run.finish_ns.tolist(), run.n_event) == ([0, 0], 0)


def test_numbers_of_processors_and_interfaces_may_have_gaps():
    plain = b"num_ranks 2\nrank 0 {\nsend 9b to 1\nsend 9b to 1 cpu 1 nic 1\n}\nrank 1 {\n}\n"
    far = plain.replace(b"cpu 1 nic 1", b"cpu 255 nic 77")
    times = [simulate_schedule(read_text("a", text)).finish_ns.tolist() for text in (plain, far)]
    assert times[0] == times[1]


def test_more_pairs_of_processor_and_interface_than_fit_are_refused():
    sends = b"".join(b"send 1b to 0 cpu %d nic %d\n" % (i, i) for i in range(256))
    ranks = b"".join(b"rank %d {\n}\n" % rank for rank in range(1, 600))
    text = b"num_ranks 600\nrank 0 {\n" + sends + b"}\n" + ranks
    with pytest.raises(InputError, match="600 ranks of 65536 pairs of processor"):
        simulate_schedule(read_text("a", text))


def test_times_beyond_64_bits_are_refused():
    text = "num_ranks 1\nrank 0 {\n" + f"calc {1 << 61}\n" * 3 + "}\n"
    with pytest.raises(InputError, match="does not fit into 64 bits"):
        simulate_schedule(read_text("a.goal", text.encode()))


def test_costs_below_zero_are_refused():
    with pytest.raises(UsageError, match="L -1 is not between"):
        LogGOPS(L=-1)
