"""Verdict and stability tell one story, over a grid of jobs whose cause was planted.

Ranks compute 70 ms or so (noise of 2 %) and then meet in 20 ms; `size` is a share of the work.
"""

import itertools
from typing import Any

import numpy as np
import pytest
from tests.audit.test_document import documented
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import communicate, compute

from loadpath.brief.stability_words import stability_answers
from loadpath.brief.wording import headline
from loadpath.diagnose.course import COURSES
from loadpath.tables.results import LOAD_CURVE, POLICY, STABILITY

SHAPES = ((2, 12), (4, 20), (8, 40))
POLICY_RATIO = 0.005


def _struck(work, kind, size):
    """Change the work of some ranks or steps in place."""
    n_step, step = len(work), np.arange(len(work))
    ramp = 1 + 2 * size * step / n_step
    some = {
        "rank": (np.s_[:, 1], 1 + size),
        "two ranks": (np.s_[:, [0, -1]], 1 + size),
        "rank, once": (np.s_[n_step // 3, 1], 1 + size * n_step),
        "rank, drifting": (np.s_[:, 1], ramp),
        "rank, every third step": (np.s_[::3, 1], 1 + 3 * size),
        "every second step": (np.s_[::2], 1 + 2 * size),
        "one step": (np.s_[n_step // 3], 1 + size * n_step),
        "drift": (np.s_[:], ramp[:, None]),
        "warm-up": (np.s_[:3], 1 + 5 * size),
    }
    if kind in some:
        where, factor = some[kind]
        work[where] *= factor


def planted(kind, shape, size):
    """Return the work of every rank in every step, in ms."""
    n_rank, n_step = shape
    rng = np.random.default_rng(3)
    work = 70 * (1 + 0.02 * rng.standard_normal((n_step, n_rank)))
    _struck(work, kind, size)
    alone = {"jitter": (n_step, n_rank), "common noise": (n_step, 1)}
    if kind in alone:
        work *= rng.lognormal(0, size, alone[kind])
    return work


PLACES = ("rank", "rank, once", "rank, drifting", "rank, every third step")
TOGETHER = ("every second step", "one step", "drift", "warm-up")
KINDS = ("none", "two ranks", "jitter", "common noise", *PLACES, *TOGETHER)
CASES = [*itertools.product(KINDS, SHAPES, (0.1, 0.3))]
_KNOWN: dict[tuple[str, tuple[int, int], float], dict[str, Any]] = {}


def audited(kind, shape, size):
    key = (kind, shape, size)
    if key not in _KNOWN:
        _KNOWN[key] = documented(peers(planted(kind, shape, size)))
    return _KNOWN[key]


def losses(document):
    return {part: entry["value"] for part, entry in document["stability"]["loss"].items()}


def words(document):
    tables = {t.name: t.empty() for t in (STABILITY, POLICY, LOAD_CURVE)}
    answers = stability_answers(document, tables)
    return "".join(cell.text for cell in answers[0].words)


@pytest.mark.parametrize(("kind", "shape", "size"), CASES)
def test_what_the_verdict_returns_is_the_loss_that_stability_gives_to_its_part(kind, shape, size):
    document = audited(kind, shape, size)
    verdict, lost = document["verdict"], losses(document)
    if verdict["kind"] in {"none", "absorbed"}:
        assert max(lost.values()) < 2 * POLICY_RATIO * verdict["step_s"]
        return
    part = {"rank": "component", "jitter": "common"}[verdict["kind"]]
    part = "emergent" if verdict["mechanism"] == "noise" else part
    assert lost[part] == pytest.approx(
        verdict["gain_s"], rel=0.15, abs=2 * POLICY_RATIO * verdict["step_s"]
    )


@pytest.mark.parametrize(("kind", "shape", "size"), CASES)
def test_no_part_is_cleared_in_words_that_the_verdict_accuses(kind, shape, size):
    document = audited(kind, shape, size)
    verdict, lost = document["verdict"], losses(document)
    if verdict["kind"] == "rank" and verdict["gain_s"] > lost["emergent"]:
        assert "no part is to blame" not in words(document)
    if verdict["mechanism"] == "noise":
        assert "component fault" not in words(document)
    if verdict["mechanism"] in COURSES:
        assert "noise" not in headline(verdict)
        assert "all ranks are slow together" in words(document) or lost["emergent"] > 0
    else:
        assert "slow together" not in words(document)


@pytest.mark.parametrize(("kind", "shape", "size"), CASES)
def test_a_gain_lies_in_its_interval_and_confidence_goes_with_it(kind, shape, size):
    verdict = audited(kind, shape, size)["verdict"]
    for cause in verdict["causes"]:
        assert cause["gain_low_s"] - 1e-9 <= cause["gain_s"] <= cause["gain_high_s"] + 1e-9
    assert 0 <= verdict["confidence"] <= 1


@pytest.mark.parametrize(("kind", "shape"), [*itertools.product(PLACES, SHAPES)])
def test_a_fault_of_one_rank_is_the_ranks_whatever_its_course(kind, shape):
    verdict = audited(kind, shape, 0.3)["verdict"]
    assert (verdict["kind"], verdict["ranks"]) == ("rank", [1])


@pytest.mark.parametrize(("kind", "shape"), [*itertools.product(TOGETHER, SHAPES)])
def test_what_is_slow_together_is_named_so_and_gains_nothing_from_alignment(kind, shape):
    document = audited(kind, shape, 0.3)
    verdict = document["verdict"]
    assert (verdict["kind"], verdict["place"]) == ("jitter", "all")
    assert verdict["mechanism"] in COURSES
    assert losses(document)["emergent"] < 0.4 * verdict["gain_s"]


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_that_ranks_share_costs_no_more_than_their_own(shape):
    healthy, shared = (audited(kind, shape, 0.3) for kind in ("none", "common noise"))
    assert shared["verdict"]["mechanism"] == healthy["verdict"]["mechanism"] == "noise"
    assert shared["verdict"]["gain_s"] == pytest.approx(healthy["verdict"]["gain_s"], rel=0.3)


@pytest.mark.parametrize("n_step", [2, 3])
def test_too_few_steps_to_draw_from_have_neither_confidence_nor_intervals(n_step):
    document = documented(peers(planted("rank", (4, n_step), 0.3)))
    verdict = document["verdict"]
    assert verdict["confidence"] is verdict["n_resamples"] is None
    assert "4 " in verdict["confidence_method"]
    assert all(c["gain_low_s"] is c["gain_high_s"] is None for c in verdict["causes"])
    for name, entry in document["stability"].items():
        if isinstance(entry, dict) and isinstance(entry.get("value"), float):
            assert entry["low"] is entry["high"] is None, name


@pytest.mark.parametrize("n_met", [2, 3, 4])
def test_a_single_step_needs_four_communications_to_draw_from(n_met):
    ops, meetings = [], []
    for _ in range(n_met):
        for rank, work in enumerate([70, 70, 70, 100]):
            ops += [compute(rank, work * MS), communicate(rank, 20 * MS)]
        meetings.append(list(range(len(ops) - 7, len(ops), 2)))
    verdict = documented(coupled(ops, meetings))["verdict"]
    assert (verdict["kind"], verdict["ranks"]) == ("rank", [3])
    assert (verdict["confidence"] is None) == (n_met < 4)
    assert (verdict["causes"][0]["gain_low_s"] is None) == (n_met < 4)


@pytest.mark.parametrize("n_rank", [2, 4])
def test_four_steps_are_enough_for_both(n_rank):
    verdict = documented(peers(planted("rank", (n_rank, 4), 0.3)))["verdict"]
    assert verdict["confidence"] is not None
    assert verdict["causes"][0]["gain_low_s"] <= verdict["causes"][0]["gain_high_s"]
