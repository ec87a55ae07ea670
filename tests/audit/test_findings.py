"""Doubts that an audit adds to those of the recording."""

from types import SimpleNamespace

import pytest

from loadpath.audit.refusal import unexplained_caveat


@pytest.mark.parametrize(
    ("unexplained", "without_s", "doubted"),
    [(0.5, 0.98, True), (0.5, 0.4, False), (0.004, 1.0, False), (0.006, 1.0, True)],
)
def test_more_unexplained_than_named_is_a_caveat(unexplained, without_s, doubted):
    judgement = SimpleNamespace(step_s=1.0, step_without_s=without_s)
    caveat = unexplained_caveat(unexplained, judgement)  # type: ignore[arg-type]
    assert caveat["code"].to_list() == ["unexplained_path"] * doubted


def test_nothing_is_doubted_where_nothing_is_concluded():
    assert unexplained_caveat(0.9, None).is_empty()
