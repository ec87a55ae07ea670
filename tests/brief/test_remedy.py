"""What to do: every verdict that can be reached has a remedy, which names its place."""

from pathlib import Path

import pytest

from loadpath.brief.lines import entry
from loadpath.brief.remedy import REMEDIES, remedy

PAGES = {path.stem for path in (Path(__file__).parents[2] / "docs" / "verdicts").glob("*.md")}
PLACES = {"stage": "stage", "link": "link", "data": "microbatch", "hang": "rank", "rank": "rank"}
WAITS = ("input", "checkpoint", "storage")


def document(kind, told, *, hosts=("a-host-with-a-long-name-17",), place=None):
    verdict = {
        "kind": kind,
        "place": place or PLACES.get(kind, "rank"),
        "mechanism": "input" if told in WAITS else told or "unknown",
        "waits_for": told if told in WAITS else None,
        "reason": told if kind == "hang" else None,
        "ranks": [2],
        "hosts": list(hosts),
        "stage": 3,
        "link": [0, 16],
    }
    return {"verdict": verdict, "job": {"ranks": 4, "ranks_represented": 4}}


def test_every_kind_of_verdict_has_its_row():
    assert set(REMEDIES) == PAGES - {"README"}
    assert [kind for kind, known in REMEDIES.items() if not known] == ["not_assessable"]


@pytest.mark.parametrize(
    ("kind", "told"), [(kind, name) for kind, known in REMEDIES.items() for name in known]
)
def test_a_remedy_is_told_whole_in_three_lines(kind, told):
    place = "all" if told == "all" else None
    text = remedy(document(kind, told, place=place))
    assert text.endswith((".", "?"))
    assert not entry("What to do", text, 3)[-1].endswith(" ...")


@pytest.mark.parametrize("kind", ["rank", "host"])
def test_a_culprit_is_named_with_its_host(kind):
    text = remedy(document(kind, "device", hosts=["node-17"]))
    assert "rank 2 (node-17)" in text


def test_a_link_is_named_with_the_hosts_at_its_ends():
    assert "link 0 to 16 (node-0, node-2)" in remedy(
        document("link", "", hosts=["node-0", "node-2"])
    )


def test_hosts_that_nobody_named_are_asked_for():
    assert "rank 2 (--hosts FILE names the host)" in remedy(document("rank", "device", hosts=[]))


def test_what_is_waited_for_is_told_from_other_input():
    assert "checkpoint" in remedy(document("host", "checkpoint"))
    assert "workers" in remedy(document("host", "input"))


def test_a_wrong_call_in_a_hang_is_no_fault_of_a_host():
    assert "not of a host" in remedy(document("hang", "different_size"))
    assert "stack" in remedy(document("hang", "missing"))


def test_what_cannot_be_assessed_has_no_remedy_beside_what_is_missing():
    assert remedy(document("not_assessable", "")) == ""
