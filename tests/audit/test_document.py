"""The document: every field documented, no NaN, money that adds up, sentences for every verdict."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import peers
from tests.diagnose.test_verdict import side_lane

from loadpath.audit import couple_recording, run_audit
from loadpath.audit.document import build_document
from loadpath.audit.findings import diagnose
from loadpath.audit.folder import document_bytes
from loadpath.audit.settings import Settings
from loadpath.audit.verdict_document import verdict_sentence
from loadpath.couple.steps import join_steps
from loadpath.tables import caveat_table
from loadpath.testing import Cause, job, make_job, write_op_table

PAGE = Path(__file__).parents[2] / "docs" / "formats" / "audit.md"
BY_KEY = {
    "rank_time_s",
    "by_baseline",
    "by_sink",
    "versions",
    "layout",
    "value",
    "low",
    "high",
    "reason",
}


def documented(small, **options):
    settings = Settings(**options)
    return build_document(
        small, settings, ["job.parquet"], diagnose(small, settings, lambda _: None)
    )


def fields(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            if name not in BY_KEY:
                yield from fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner)


def leaves(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def test_every_field_is_documented(audited):
    known = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert set(fields(dict(audited.document))) - known == set()


@pytest.mark.parametrize("works", [[70, 70, 70, 100], [70, 70, 70, 70]])
def test_document_holds_plain_finite_values_only(works):
    found = documented(peers(works, steps=3), rate=1.0)
    assert {type(leaf) for leaf in leaves(found)} <= {str, int, float, bool, type(None)}
    assert all(math.isfinite(leaf) for leaf in leaves(found) if isinstance(leaf, float))
    assert json.loads(document_bytes(found)) == found


def test_numbers_given_as_numpy_scalars_are_written_plainly():
    stake = documented(peers([70, 70, 70, 100]), rate=np.float64(3600))["stake"]
    assert type(stake["rate"]) is float


def test_times_of_the_job_are_means_over_ranks():
    # 3 steps: 70, 70, 70, 100 of computation; 30 of waiting on three ranks; 20 of transfer
    found = documented(peers([70, 70, 70, 100], steps=3))["job"]
    assert found["compute_s"] == pytest.approx(3 * 0.0775)
    assert found["wait_s"] == pytest.approx(3 * 0.0225)
    assert found["transfer_s"] == pytest.approx(3 * 0.020)
    assert found["duration_s"] == pytest.approx(3 * 0.120)
    assert (found["ranks"], found["steps"], found["ops"]) == (4, 3, 24)
    assert (found["instances"], found["instances_matched"]) == (3, 3)


def test_verdict_carries_place_proof_and_victims():
    verdict = documented(peers([70, 70, 70, 100]))["verdict"]
    assert (verdict["kind"], verdict["place"], verdict["ranks"]) == ("rank", "rank", [3])
    assert verdict["step_s"] == pytest.approx(0.120)
    assert verdict["step_s_without"] == pytest.approx(0.090)
    assert verdict["share_removal_ratio"] == pytest.approx(1.0)
    assert verdict["victims"] == [0, 1, 2]
    assert verdict["distance"]["hops_mean"] == pytest.approx(1.0)
    assert verdict["causes"][0]["state"] == "verdict"
    assert verdict["summary"] == (
        "rank 3: slow work (device or host: the record cannot tell); without it a step takes "
        "90.0 ms instead of 120 ms (25.0 % less)."
    )


def test_nobody_is_to_blame_in_words():
    verdict = documented(peers([70, 70, 70, 70]))["verdict"]
    assert verdict["kind"] == "none"
    assert verdict["summary"] == (
        "Nobody is to blame: no cause returns 0.5 % of the 90.0 ms step, and removing all noise "
        "returns 0.0 %."
    )
    assert verdict["ranks"] == verdict["hosts"] == verdict["victims"] == []
    assert verdict["stage"] is verdict["link"] is verdict["distance"] is None


def test_a_place_that_would_return_time_but_does_not_stand_out_is_named_as_such(tmp_path):
    cause = Cause("stage", 0.1, stage=1)
    table = write_op_table(make_job(6, pp=2, dp=2, steps=8, cause=cause), tmp_path)
    verdict = run_audit(table).document["verdict"]
    assert (verdict["kind"], verdict["runner_up"]["key"]) == ("none", "stage 1")
    assert "stage 1 would return" in verdict["summary"]
    assert "no cause returns" not in verdict["summary"]
    assert "differs no more from its peers" in verdict["summary"]


def test_waits_by_sink_add_up_to_the_exposed_wait():
    waits = documented(peers([70, 70, 70, 100], steps=3))["waits"]
    assert waits["exposed_s"] == pytest.approx(3 * 3 * 0.030)
    assert sum(waits["by_sink"].values()) == pytest.approx(waits["exposed_s"], abs=1e-9)


def test_parts_of_rank_time_add_up_to_the_step():
    parts = dict(documented(peers([70, 70, 70, 100], steps=3))["job"]["rank_time_s"])
    assert parts.pop("total") == pytest.approx(0.120)
    assert sum(parts.values()) == pytest.approx(0.120)


def test_stake_is_the_share_of_the_step_that_the_cause_takes():
    # a quarter of 120 ms on 4 accelerators, 3600 a GPU-hour: one a second
    stake = documented(peers([70, 70, 70, 100]), rate=3600, currency="EUR")["stake"]
    assert stake["gain_ratio"] == pytest.approx(0.25)
    assert stake["gpu_hours_per_1000"] == pytest.approx(250)
    assert stake["gpu_hours_per_step"] == pytest.approx(4 * 0.120 / 3600)
    assert stake["money_per_step"] == pytest.approx(0.48)
    assert stake["money_per_1000"] == pytest.approx(250 * 3600)
    assert stake["currency"] == "EUR"
    assert "work_per_step" not in stake


def test_stake_by_unit_of_work():
    stake = documented(peers([70, 70, 70, 100]), rate=3600, work_per_step=48)["stake"]
    assert stake["money_per_unit"] == pytest.approx(0.01)
    assert stake["money_per_unit_without_cause"] == pytest.approx(0.0075)
    bare = documented(peers([70, 70, 70, 100]), work_per_step=48)["stake"]
    assert "money_per_unit" not in bare
    assert bare["gpu_hours_per_unit"] == pytest.approx(0.48 / 3600 / 48)


def test_accelerators_that_a_rank_stands_for_are_counted():
    small = peers([70, 70, 70, 100])
    wide = small.rank.with_columns(n_represented=pl.lit(8, pl.Int32))
    stake = documented(
        small.__class__(**{n: getattr(small, n) for n in small.__slots__} | {"rank": wide})
    )
    assert stake["stake"]["n_accelerators"] == 32
    assert stake["job"]["ranks_represented"] == 32


def test_nothing_is_at_stake_where_nobody_costs_time():
    stake = documented(peers([70, 70, 70, 70]), rate=2.0)["stake"]
    assert stake["gain_ratio"] == stake["money_per_1000"] == 0.0


def test_command_reproduces_the_audit_without_folders_of_the_machine(table, audited):
    assert audited.document["command"] == (
        f"loadpath audit {table.name} --rate 2.5 --work-per-step 4000000.0"
    )
    assert str(table.parent) not in document_bytes(audited.document).decode()


def test_inputs_are_named_with_hash_and_size(table, audited):
    first = audited.document["inputs"][0]
    assert first["path_name"] == table.name
    assert first["bytes"] == table.stat().st_size
    assert re.fullmatch("[0-9a-f]{64}", first["sha256"])


def test_time_of_creation_is_written_only_when_given(table, audited):
    assert audited.document["as_of"] is None
    dated = run_audit(table, as_of="2026-01-02")
    assert dated.document["as_of"] == "2026-01-02"


@pytest.mark.parametrize("baseline", ["median", "mean", "best"])
def test_slowdown_is_given_for_each_baseline(table, baseline):
    slowdown = run_audit(table, baseline=baseline).document["slowdown"]
    assert slowdown["baseline"] == baseline
    assert set(slowdown["by_baseline"]) == {"median", "mean", "best"}
    assert slowdown["by_baseline"]["best"] >= slowdown["by_baseline"]["median"] > 1
    assert slowdown["waste_ratio"] == pytest.approx(1 - 1 / slowdown["by_baseline"][baseline])


def test_refusal_claims_nothing(table):
    verdict = run_audit(table, gate=1e-6).verdict
    assert verdict["kind"] == "not_assessable"
    claims = (
        "share_removal_ratio",
        "step_s_without",
        "confidence",
        "runner_up",
        "distance",
        "stage",
    )
    assert all(verdict[name] is None for name in claims)
    assert verdict["ranks"] == verdict["causes"] == []
    assert verdict["summary"].startswith(
        "No conclusion is drawn: the replay misses the measured steps"
    )


def test_refused_document_has_the_fields_of_any_other(table, audited):
    refused = run_audit(table, gate=1e-6).document
    assert set(refused) == set(audited.document)
    assert set(refused["verdict"]) == set(audited.document["verdict"])
    assert refused["stake"] is None


def test_absorbed_cause_is_said_to_return_little():
    verdict = documented(side_lane(100, beside=110))["verdict"]
    assert verdict["kind"] == "absorbed"
    assert (
        "slack absorbs it: removing it returns only 0.0 % of the 130 ms step" in verdict["summary"]
    )
    assert verdict["victims"] == []


def test_confidence_names_what_was_resampled():
    several = documented(peers([70, 70, 70, 100]))["verdict"]["confidence_method"]
    rounds = job(ranks=4)
    for _ in range(12):
        rounds = rounds.compute([70_000, 70_000, 70_000, 100_000]).all_reduce(20_000)
    one = documented(join_steps(couple_recording(rounds.recording())))["verdict"][
        "confidence_method"
    ]
    assert several == "share of 1,000 resamples of steps with this verdict"
    assert one == "share of 1,000 resamples of communications with this verdict"


def test_caveats_stand_by_what_they_take_from_the_conclusions():
    codes = ["not_kineto", "axes_unknown", "late_records", "missing_ranks", "clocks_set"]
    small = peers([70, 70, 70, 100])
    doubted = replace(small, caveat=caveat_table([(code, "", 1) for code in codes]))
    found = [caveat["code"] for caveat in documented(doubted)["caveats"]]
    assert found == ["missing_ranks", "late_records", "clocks_set", "not_kineto", "axes_unknown"]


def test_numbers_of_the_document_do_not_depend_on_the_order_of_ranks():
    one = documented(peers([70, 70, 70, 100]))["verdict"]
    other = documented(peers([100, 70, 70, 70]))["verdict"]
    assert np.isclose(one["step_s_without"], other["step_s_without"])
    assert other["ranks"] == [0]


def judged(**changed):
    """A judgement of what `peers` finds, with some of it replaced."""
    small = peers([70, 70, 70, 100])
    judgement = diagnose(small, Settings(), lambda _: None)["judgement"]
    return replace(judgement, **changed)


def test_a_share_is_that_of_the_two_step_times_in_its_sentence():
    text = verdict_sentence(judged(step_s=0.0198, step_without_s=0.0191))
    assert "19.1 ms instead of 19.8 ms (3.5 % less)" in text


def test_a_gain_below_0_is_not_hidden():
    text = verdict_sentence(judged(step_s=0.100, step_without_s=0.102))
    assert "102 ms instead of 100 ms (2.0 % more)" in text
    calm = judged(kind="none", cause=None, step_s=0.1, noise_gain_s=-0.001)
    assert verdict_sentence(calm).endswith("removing all noise lengthens it by 1.0 %.")


def test_a_gain_whose_interval_holds_0_has_no_share():
    found = judged()
    cause = replace(found.cause, low_s=-0.01, high_s=0.04)
    text = verdict_sentence(replace(found, cause=cause))
    assert "%" not in text.replace("95 %", "")
    assert "-10.0 ms to 40.0 ms, holds 0, so no share is given" in text


def test_noise_is_said_to_be_an_upper_bound():
    assert "an upper bound" in verdict_sentence(judged(kind="jitter", mechanism="noise"))


def test_steps_that_take_no_time_divide_nothing():
    assert "take no time" in verdict_sentence(judged(kind="none", cause=None, step_s=0.0))
    assert "%" not in verdict_sentence(judged(step_s=0.0, step_without_s=0.0))


def test_gain_is_the_difference_of_the_two_step_times():
    verdict = documented(peers([70, 70, 70, 100]))["verdict"]
    assert verdict["gain_s"] == pytest.approx(verdict["step_s"] - verdict["step_s_without"])
    assert verdict["n_resamples"] == 1000


def test_refused_document_holds_no_waits_and_no_attribution(table):
    refused = run_audit(table, gate=1e-6).document
    assert refused["waits"] == {"exposed_s": None, "by_sink": {}}
    assert refused["attribution"] == []
