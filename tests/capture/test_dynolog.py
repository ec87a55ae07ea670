"""The dynolog protocol: what a process asks, and nothing else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.capture.dynolog import LONGEST, Question, answer, read_question, window_config


def datagram(kind, body):
    return struct.pack("=Q32s", len(body), kind) + body


def request(*pids, job=0):
    return datagram(b"req", struct.pack(f"=iiq{len(pids)}i", 3, len(pids), job, *pids))


def test_a_request_names_the_process_and_its_ancestors():
    assert read_question(request(42, 7, job=5)) == Question("request", 5, (42, 7))


def test_a_process_that_introduces_itself_names_its_job():
    found = read_question(datagram(b"ctxt", struct.pack("=iiq", 0, 42, 9)))
    assert found == Question("context", 9, (42,))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 39,
        datagram(b"req", b""),
        datagram(b"req", struct.pack("=iiq", 3, 2, 0) + b"\1\0\0\0"),
        datagram(b"req", struct.pack("=iiq", 3, -1, 0)),
        datagram(b"req", struct.pack("=iiq", 3, 1 << 30, 0)),
        datagram(b"ctxt", b"\0" * 15),
        datagram(b"what", b"\0" * 16),
        struct.pack("=Q32s", 1 << 60, b"req") + b"\0" * 20,
        request(*range(400)),
    ],
)
def test_what_is_not_of_the_protocol_is_no_question(data):
    assert read_question(data) is None


@given(st.binary(max_size=LONGEST + 8))
def test_no_datagram_breaks_the_reader(data):
    found = read_question(data)
    assert found is None or found.pids


def test_an_answer_holds_its_size_its_kind_and_the_configuration():
    reply = answer(Question("request", 0, (1,)), "KEY=1\n")
    size, kind = struct.unpack_from("=Q32s", reply)
    assert (size, kind.rstrip(b"\0"), reply[40:]) == (6, b"req", b"KEY=1\n")
    assert struct.unpack("=Q32si", answer(Question("context", 0, (1,)))) == (
        4,
        b"ctxt".ljust(32, b"\0"),
        1,
    )


def test_a_window_is_a_time_or_a_number_of_steps():
    timed, stepped = window_config("f.json", 1000, 2500), window_config("f.json", 1, 1, steps=7)
    assert "PROFILE_START_TIME=1000" in timed.splitlines()
    assert "ACTIVITIES_DURATION_MSECS=2500" in timed.splitlines()
    assert "ACTIVITIES_ITERATIONS=7" in stepped.splitlines()
    assert "DURATION" not in stepped
