import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadpath.decode import Envelope, array_chunks, json_array
from loadpath.decode.json_array import salvage_objects
from loadpath.errors import InputError


def cut(text, size, key="events") -> tuple[list[bytes], Envelope]:
    return taken(array_chunks([text[i : i + size] for i in range(0, len(text), size)], key))


def taken(items) -> tuple[list[bytes], Envelope]:
    *chunks, envelope = items
    return [piece for chunk in chunks for piece in chunk.pieces()], envelope


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=6),
    st.integers(1, 50),
    st.sampled_from([None, 1, 2]),
    st.booleans(),
)
def test_chunks_hold_the_objects_of_the_array_for_any_layout_and_block_size(
    events, size, indent, ascii_only
):
    document = {"head": 1, "events": events, "tail": {"a": [1]}}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    pieces, envelope = cut(text, size)
    assert [json.loads(piece) for piece in pieces] == events
    assert json.loads(envelope.text) == {**document, "events": []}
    assert not envelope.damage


def test_a_bare_array_of_objects_is_the_array():
    pieces, envelope = cut(b' [{"a": 1},{"b": 2}]', 7)
    assert pieces == [b'{"a": 1}', b'{"b": 2}']
    assert envelope.found


def test_a_document_without_the_key_is_not_found():
    pieces, envelope = cut(b'{"nodes": [{"a": 1}]}', 7)
    assert pieces == []
    assert not envelope.found


def test_a_document_that_ends_early_keeps_whole_objects_and_says_so():
    pieces, envelope = cut(b'{"rank": 1, "events": [{"a": 1}, {"b": ', 9)
    assert pieces[0] == b'{"a": 1}'
    assert envelope.damage == "the list of events has no end"
    assert json.loads(envelope.text) == {"rank": 1, "events": []}


def test_damage_of_the_source_ends_the_document():
    def blocks():
        yield b'{"events": [{"a": 1},'
        raise InputError("file", "gzip data end too early", "Copy it again.")

    pieces, envelope = taken(array_chunks(blocks(), "events"))
    assert pieces == [b'{"a": 1}']
    assert envelope.damage == "gzip data end too early"


def test_a_lost_quote_costs_one_event_only():
    text = b'{"events": [\n{"a": "x\n},\n{"b": 2},\n{"c": 3}\n]}'
    pieces, _ = cut(text, 1000)
    assert pieces[1:] == [b'{"b": 2}', b'{"c": 3}']


def test_a_lost_brace_costs_few_events(monkeypatch):
    monkeypatch.setattr(json_array, "MAX_OBJECT_BYTES", 200)
    events = [f'{{"n": {i}}}' for i in range(100)]
    events[10] = '{"n": {"m": 1}'
    text = ('{"events": [' + ", ".join(events) + "]}").encode()
    pieces, envelope = cut(text, 64)
    sound = []
    for piece in pieces:
        try:
            sound.append(json.loads(piece)["n"])
        except json.JSONDecodeError:
            continue
    assert set(range(100)) - set(sound) == {10}
    assert not envelope.damage


@pytest.mark.parametrize("bad", ['{"n": "a"b"}', '{"n": {"m": 1}', '{"n": "a\nb}', '{"n: 1}'])
@pytest.mark.parametrize("separator", [", ", ",", ",\n"])
def test_a_fault_shortly_before_the_end_costs_no_more_than_its_event(bad, separator):
    events = [f'{{"n": {i}}}' for i in range(9)]
    text = f'{{"events": [{separator.join([*events[:4], bad, *events[4:]])}], "unit": "ns"}}'
    pieces, envelope = cut(text.encode(), 64)
    assert [piece.decode() for piece in pieces if piece.decode() in events] == events
    assert len(pieces) == 10
    assert (envelope.damage, json.loads(envelope.text)) == ("", {"events": [], "unit": "ns"})


def test_a_fault_and_a_cut_are_still_a_cut():
    pieces, envelope = cut(b'{"events": [{"a": "x"y"}, {"b": 2}, {"c": 3}, {"d": ', 1000)
    assert pieces[1:3] == [b'{"b": 2}', b'{"c": 3}']
    assert envelope.damage == "the list of events has no end"


def test_salvage_cuts_between_events_only():
    text = b'{"a": {"x": 1}}, {"b": , {"c": 3}'
    assert salvage_objects(text)[0] == b'{"a": {"x": 1}}'


@pytest.mark.parametrize("text", [b"", b"   ", b"null", b'{"events"'])
def test_text_without_array_is_not_found(text):
    _, envelope = cut(text, 3)
    assert not envelope.found
