"""Pickles: plain values are read, and nothing in them is ever run."""

import os
import pickle
import tracemalloc

import pytest

from loadpath.decode.plain_pickle import load_plain
from loadpath.errors import InputError


class Runs:
    """Would run a call when it is read."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_come_back_whatever_the_protocol(protocol):
    value = {"entries": [{"n": 1, "big": 2**70, "t": (1, 2.5, None, True)}], "ü": ["x"] * 300}
    assert load_plain(pickle.dumps(value, protocol=protocol), "dump") == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "call", [(os.system, "echo ran > ran"), (os.mkdir, "ran"), (open, "ran", "w")]
)
def test_a_pickle_that_wants_to_run_code_runs_nothing(protocol, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not a pickle of plain values"):
        load_plain(pickle.dumps({"a": Runs(*call)}, protocol=protocol), "dump")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"\x80\x02}r\xff\xff\xff\x7f0.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x80\x02\x8b\xff\xff\xff\x7f",
        b"\x80\x02}",
        b"",
    ],
)
def test_a_pickle_that_asks_for_memory_gets_none(bomb):
    tracemalloc.start()
    with pytest.raises(InputError, match="not a pickle of plain values"):
        load_plain(bomb, "dump")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_a_reference_of_any_number_takes_no_memory():
    tracemalloc.start()
    assert load_plain(b"\x80\x02}r\xff\xff\xff\x7f.", "dump") == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


@pytest.mark.parametrize("key", [1 << 61, -(1 << 70), 1.5, (1, 2), None])
def test_keys_that_may_share_a_hash_are_refused(key):
    with pytest.raises(InputError, match="a key that is neither text nor a usual number"):
        load_plain(pickle.dumps({key: 1}), "dump")


def test_lists_of_one_list_are_refused_before_they_are_walked():
    value: list[object] = [1] * 10
    for _ in range(12):
        value = [value] * 10
    with pytest.raises(InputError, match="again and again"):
        load_plain(pickle.dumps(value), "dump")


def test_a_list_that_holds_itself_is_refused():
    value: list[object] = [1]
    value.append([value])
    with pytest.raises(InputError, match="again and again"):
        load_plain(pickle.dumps(value), "dump")


def test_parts_that_are_shared_are_kept():
    part = ["frame"]
    assert load_plain(pickle.dumps([part, [part], part]), "dump") == [part, [part], part]
