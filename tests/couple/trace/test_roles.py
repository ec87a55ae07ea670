"""Who waits for whom in communications that go from one rank, or to one."""

from typing import Any

import numpy as np
import pytest

from loadpath.couple.trace.roles import Members, member_roles

US = 1_000
BASE = ([0, 300, 0, 0], [0, 0, 300, 0], [0, 0, 0, 300])
"""When ranks 0 to 3 come, in us: rank 1, the root, is late, then rank 2, then rank 3."""


def left(kind, rule, come, root=1):
    """When each rank leaves, 10 us after whom it waits for."""
    gives = [(r == root) == (kind == "broadcast") for r in range(len(come))]
    found = []
    for r, own in enumerate(come):
        others = [
            c
            for other, c in enumerate(come)
            if rule == "all"
            or (gives[other] and not gives[r])
            or (rule == "sides" and gives[r] and not gives[other])
        ]
        found.append(max([own, *others]) + 10)
    return found


def roles(kind, rule, *, root=1, told=None, on_device=False, meetings=BASE):
    """Roles in meetings in which ranks wait by a rule."""
    n = len(meetings)
    start = np.array(meetings).ravel()
    end = np.array([left(kind, rule, come, root) for come in meetings]).ravel()
    size = start.size
    members: Any = Members(
        instance=np.repeat(np.arange(n, dtype=np.int32), 4),
        rank=np.tile(np.arange(4, dtype=np.int32), n),
        peer=np.full(size, root if told is None else told, np.int32),
        collective=np.full(size, kind, object),
        start=start * US,
        end=end * US,
        bytes=np.full(size, 64),
        on_device=np.full(size, on_device),
        may_give=np.ones(size, np.bool_),
        may_take=np.ones(size, np.bool_),
    )
    return member_roles(members, 100 * US)


def of_first(found):
    """Whether each rank of the first meeting gives, takes, and does the other as well."""
    return [
        tuple(bool(x[i]) for x in (found.contributes, found.waits, found.answers)) for i in range(4)
    ]


GIVES, TAKES, BOTH = (True, False, False), (False, True, False), (True, True, False)
ONE_WAY = {
    "broadcast": [TAKES, GIVES, TAKES, TAKES],
    "gather": [GIVES, TAKES, GIVES, GIVES],
}


@pytest.mark.parametrize("kind", ONE_WAY)
def test_givers_that_leave_at_once_wait_for_nobody(kind):
    assert of_first(roles(kind, "one way")) == ONE_WAY[kind]


@pytest.mark.parametrize("kind", ONE_WAY)
def test_givers_that_stay_until_takers_came_wait_for_them_but_not_for_each_other(kind):
    found = of_first(roles(kind, "sides"))
    assert found == [(gives, waits, True) for gives, waits, _ in ONE_WAY[kind]]


@pytest.mark.parametrize("kind", ONE_WAY)
def test_members_that_stay_until_all_came_wait_for_all(kind):
    assert of_first(roles(kind, "all")) == [BOTH] * 4


def test_kernels_that_nobody_left_early_wait_for_all():
    assert of_first(roles("broadcast", "all", on_device=True)) == [BOTH] * 4


def test_kernels_whose_receivers_leave_before_others_come_wait_by_sides():
    found = of_first(roles("broadcast", "sides", on_device=True))
    assert found == [(gives, waits, True) for gives, waits, _ in ONE_WAY["broadcast"]]


def test_meetings_in_which_all_come_together_show_no_wait_of_givers():
    found = of_first(roles("gather", "sides", meetings=([0, 0, 0, 0],) * 3))
    assert found == ONE_WAY["gather"]


@pytest.mark.parametrize("kind", ONE_WAY)
@pytest.mark.parametrize("rule", ["one way", "sides"])
def test_a_root_that_nobody_names_is_told_by_the_times(kind, rule):
    meetings = (*BASE, [300, 0, 0, 0])
    found = roles(kind, rule, told=-1, meetings=meetings)
    assert found.name[:4].tolist() == ["leaf", "root", "leaf", "leaf"]
    assert of_first(found) == of_first(roles(kind, rule, meetings=meetings))
    assert found.n_rootless == 0


def test_a_root_that_times_do_not_tell_lets_nobody_wait_and_is_counted():
    # rank 3 alone is late: ranks 0, 1 and 2 may each be the root of the broadcast
    found = roles("broadcast", "one way", told=-1, meetings=([0, 0, 0, 300],) * 3)
    assert of_first(found) == [(False, False, False)] * 4
    assert found.n_rootless == 3


def test_without_a_root_all_wait_for_all_where_times_allow_it():
    assert of_first(roles("broadcast", "all", told=-1)) == [BOTH] * 4
