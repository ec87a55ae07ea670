"""What a text between two values means is remembered; also with NUMBA_DISABLE_JIT=1."""

import json

import pytest

from loadpath.decode import Chunk, Keys, array_chunks, json_array

KEYS = Keys(("a", "args"), "args", ("stream", "key of 18 letters"))


# Per object: values of wanted keys as written, or None where the scan leaves it to the decoder.
def found(text, size=1 << 20):
    blocks = [text[i : i + size] for i in range(0, len(text), size)]
    rows = []
    for chunk in array_chunks(blocks, "e", KEYS):
        if isinstance(chunk, Chunk):
            for odd, low, high in zip(chunk.odd, chunk.low, chunk.high, strict=True):
                values = zip([*KEYS.outer, *KEYS.inner], low, high, strict=True)
                rows.append(
                    None
                    if odd
                    else {key: chunk.body[i:j].decode() for key, i, j in values if i >= 0}
                )
    return rows


def array(*objects):
    return b'{"e": [' + ",\n".join(objects).encode() + b"]}"


def test_the_second_of_two_alike_objects_is_found_as_the_first():
    one = '{"x": 1, "a": "one", "args": {"stream": 7, "x": [1, [2, {}]]}, "y": {}}'
    assert found(array(one, one.replace("one", "two")))[1] == {
        "a": '"two"', "args": '{"stream": 7, "x": [1, [2, {}]]}', "stream": "7"
    }  # fmt: skip


# Each text begins as the one before, so that what is remembered is only the beginning of it.
@pytest.mark.parametrize(
    "texts",
    [
        ['{"a": 1}', '{"a":  1}', '{"a":\n1}'],
        ['{"x": [1, 2]}', '{"x": [1, [2]]}', '{"x": [1, {"a": 2}]}', '{"x": [1, []]}'],
        ['{"args": null, "a": 1}', '{"args": {"a": 1}, "a": 2}', '{"args": {}, "a": 1}'],
        ['{"a": 1}', '{"a": 1, "args": {"a": 1, "stream": 2}}', '{"a": 1 }'],
        ['{"x": {"args": {"stream": 1}}}', '{"args": {"args": {"stream": 1}, "stream": 2}}'],
        ['{"key of 18 letters": 1}', '{"args": {"key of 18 letters": 1, "key of 18 letterz": 2}}'],
        ["{}", '{"x": {}}', '{"x": [], "a": 1}', '{"x": [[]], "a": true}'],
    ],
)
def test_longer_text_is_not_taken_for_the_one_that_it_begins_with(texts):
    alone = [found(array(text))[0] for text in texts]
    assert found(array(*texts, *texts[::-1])) == alone + alone[::-1]
    for size in range(1, 12):
        assert found(array(*texts), size) == alone
    for text, values in zip(texts, alone, strict=True):
        whole = json.loads(text)
        inner = whole["args"] if isinstance(whole.get("args"), dict) else {}
        expected = {k: v for k, v in whole.items() if k in KEYS.outer}
        expected |= {k: v for k, v in inner.items() if k in KEYS.inner}
        assert {k: json.loads(v) for k, v in (values or {}).items()} == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}', '{"args": {"stream": 1}, "args": {}}', '{"args": 1, "args": {}}',
        '{"args": {"stream": 1, "stream": 2}}', '{"a": [1]}', '{"a": {}}', '{"args": []}',
        '{"a": 01}', '{"a": 1e3}', '{"a": "\x01"}', '{"a": "\\ud83d\\ude00"}', '{"a": 1,}', '{"a": "\\u00g0"}', '{"\\u0061": 1}', '{"x": [1,]}',
        '{"x": [1}]}', '{"a" 1}', '{"a": tru}', '{"x": ' + "[" * 70 + "1" + "]" * 70 + "}",
    ],
)  # fmt: skip
def test_what_is_no_plain_json_or_doubled_is_left_to_the_decoder(text):
    sound = '{"a": 1, "args": {"stream": 1}}'
    rows = found(array(sound, text, sound))
    assert rows[0] == rows[-1] == {"a": "1", "args": '{"stream": 1}', "stream": "1"}
    assert rows[1] is None


# The borders of each length of UTF-8, and what lies just beyond them.
CHARACTERS = [
    bytes([first, *rest[:k]])
    for first in (
        0x7F,
        0x80,
        0xBF,
        0xC0,
        0xC1,
        0xC2,
        0xDF,
        0xE0,
        0xE1,
        0xED,
        0xEF,
        0xF0,
        0xF4,
        0xF5,
    )
    for second in (0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    for rest in (
        (second, 0x80, 0xBF),
        (second, 0xBF, 0x41),
        (second, 0x41, 0x80),
        (second, 0xC0, 0x80),
    )
    for k in range(4)
]


def is_utf8(text):
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_other_alphabets_are_text_and_what_is_no_utf8_is_left_to_the_decoder():
    objects = [b'{"a": "' + one + b'"}' for one in CHARACTERS]
    text = b'{"e": [' + b",\n".join(objects) + b"]}"
    sound = [is_utf8(one) for one in CHARACTERS]
    assert len(set(sound)) == 2
    for size in (1 << 20, 3, 1):
        assert [row is not None for row in found(text, size)] == sound


def test_letters_written_by_number_are_text():
    text = array('{"a": "\\u00e9\\uFFFF\\ud7ff\\uE000"}', '{"k\\\\u": 1, "a": 2}')
    assert found(text)[0] == found(text, 1)[0] == {"a": '"\\u00e9\\uFFFF\\ud7ff\\uE000"'}


def test_texts_beyond_those_remembered_are_parsed(monkeypatch):
    monkeypatch.setattr(json_array, "MOST_REMEMBERED", 3)
    objects = [f'{{"k{i}": 0, "a": {i}, "z{i}": "{"x" * i}"}}' for i in range(40)]
    assert found(array(*objects)) == [{"a": str(i)} for i in range(40)]
