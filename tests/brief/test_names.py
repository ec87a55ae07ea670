import pytest

from loadpath.brief.names import cause_name, place_name


@pytest.mark.parametrize(
    ("verdict", "name"),
    [
        ({"link_name": "2", "link": [0, 1]}, "process group 2 (ranks 0, 1)"),
        ({"link_name": "2", "link": None}, "process group 2"),
        ({"link_name": "point to point 0,1", "link": [0, 1]}, "link 0 to 1"),
        ({"link_name": "grads", "link": [0, 4, 8]}, "the communication of ranks 0, 4, 8"),
    ],
)
def test_a_link_is_named_by_what_people_know(verdict, name):
    assert place_name({"place": "link", **verdict}) == name


def test_a_cause_with_a_bare_number_is_a_process_group():
    assert cause_name({"kind": "link", "key": "2"}) == "process group 2"
    assert cause_name({"kind": "rank", "key": "rank 2"}) == "rank 2"
