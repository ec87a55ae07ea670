"""Stability in plain words."""

import polars as pl
import pytest

from loadpath.brief import render_briefing
from loadpath.brief.stability_words import stability_answers, variance_grid, vector_grid


def answers(document, tables):
    found = stability_answers(document, tables)
    return {a.question: "".join(cell.text for cell in a.words) for a in found}


def test_a_component_fault_is_said_plainly(audited):
    said = answers(*audited("rank"))["Whose fault is the loss?"]
    assert said.startswith("This is a component fault")
    assert "0.4 % of that loss is emergent" in said
    assert "Unequal stages cost" in said


def test_a_loss_whose_interval_holds_0_has_no_figure(audited):
    document, tables = audited("none")
    document["stability"]["loss"]["component"] |= {"value": -1.5e-8, "low": -4e-7, "high": 2e-7}
    said = answers(document, tables)["Whose fault is the loss?"]
    assert "Slow ranks and links cost nothing that is told from 0, noise" in said


def test_an_emergent_loss_blames_no_part(audited):
    said = answers(*audited("none"))["Whose fault is the loss?"]
    assert said.startswith("The loss is emergent: no part is to blame")


def test_a_loss_mostly_by_unequal_stages_is_not_first_called_anything_else(audited):
    document, tables = audited("none")
    document["job"]["stages"] = 4
    document["stability"]["loss"]["stages"] |= {"value": 9.0, "low": 8.9, "high": 9.1}
    said = answers(document, tables)["Whose fault is the loss?"]
    assert said.startswith(
        "Mostly how work is shared out, no part's fault: unequal stages cost 9.00 s"
    )
    assert " Of the rest: The loss is emergent" in said
    document["job"]["stages"] = 1
    said = answers(document, tables)["Whose fault is the loss?"]
    assert "unequal shares of threads cost 9.00 s" in said


@pytest.mark.parametrize(
    ("gain", "waiting", "says"),
    [
        (0.14, 2.1, ("absorbs most", "amplified")),
        (0.9, 0.5, ("passes most of it on", "does not grow")),
    ],
)
def test_absorbing_is_told_from_amplifying(audited, gain, waiting, says):
    document, tables = audited("rank")
    document["stability"]["one_off_gain"]["value"] = gain
    document["stability"]["waiting_gain"]["value"] = waiting
    said = answers(document, tables)["Does the structure absorb or amplify a delay?"]
    assert all(text in said for text in says)


def test_load_is_told_with_what_it_costs_and_where_slack_ends(audited):
    said = answers(*audited("rank"))["Does it absorb or amplify more as load grows?"]
    assert "More transfers are amplified: each" in said
    assert "each second more of transfers costs 1.32 s of step" in said
    assert "slack is exhausted at 15.3 times what was recorded" in said
    assert "20.0 % instead of 14.1 %" in said
    assert "slack still hides part of them at 100 times" in said


@pytest.mark.parametrize(
    ("now", "twice", "says"),
    [
        (0.001, 0.0, "are absorbed: each second more of transfers costs 0.00 s of step."),
        (
            0.5,
            0.8,
            "are absorbed in part: each second more of transfers costs 0.50 s of step, and 0.80",
        ),
        (
            1.0,
            1.0,
            "are passed on one for one: each second more of transfers costs 1.00 s of step.",
        ),
    ],
)
def test_what_becomes_of_more_load_is_said_first(audited, now, twice, says):
    document, tables = audited("rank")
    gain = pl.when(pl.col("factor") < 2).then(now).otherwise(twice)
    tables["load_curve"] = tables["load_curve"].with_columns(gain_ratio=gain)
    said = answers(document, tables)["Does it absorb or amplify more as load grows?"]
    assert f"More transfers {says}" in said


def test_where_parts_are_slow_noise_comes_second(audited):
    said = answers(*audited("rank"))["And where noise is the normal state?"]
    assert said.endswith("Slow parts cost more: they come first.")


def test_what_helps_against_noise_names_no_part(audited):
    document, tables = audited("rank")
    document["stability"]["emergent_share_ratio"] |= {"value": 0.9, "low": 0.8, "high": 1.0}
    document["stability"]["loss"]["emergent"] |= {"value": 0.25, "low": 0.2, "high": 0.3}
    said = answers(document, tables)["And where noise is the normal state?"]
    assert said.startswith("Noise costs 250 ms a step, and steadier work returns no more. ")
    assert "To replace" not in said
    assert "of what names no part as slow, nothing is told to return more" in said
    document["stability"]["loss"]["emergent"]["low"] = -0.1
    tables["policy"] = tables["policy"].with_columns(saving_ratio=-pl.col("saving_ratio").abs())
    said = answers(document, tables)["And where noise is the normal state?"]
    assert said.startswith("What noise costs is not told from nothing. Of what names no part")


def test_noise_is_amplified_only_if_its_interval_says_so(audited):
    document, tables = audited("rank")
    noise = document["stability"]["noise_gain"]
    assert answers(document, tables)["What does noise become?"].endswith("it is amplified.")
    noise["low"] = 0.3
    assert "not told from" in answers(document, tables)["What does noise become?"]
    noise |= {"value": -0.1, "low": -0.4, "high": 0.2}
    assert "not told from none" in answers(document, tables)["What does noise become?"]
    noise |= {"value": 0.5, "low": 0.3, "high": 0.8}
    assert answers(document, tables)["What does noise become?"].endswith("absorbed.")
    noise |= {"value": None, "basis": "not assessed: the ranks' own work has no noise"}
    assert answers(document, tables)["What does noise become?"].startswith("Not assessed: ")


def test_the_simplest_of_policies_that_cannot_be_told_apart_is_said(audited):
    said = answers(*audited("rank"))["What helps?"]
    assert said.startswith("To replace rank 0, by a spare like the peers: it returns ")
    assert "It takes 1 spare; what it replaces goes free" in said


@pytest.mark.parametrize(("more", "says"), [(0.001, "To replace"), (0.01, "Not to wait for")])
def test_a_policy_that_returns_hardly_more_than_a_simpler_one_is_not_said(audited, more, says):
    """Without noise intervals are points: a nanosecond would decide."""
    document, tables = audited("rank")
    exact = {name: pl.col("gain_s") for name in ("gain_low_s", "gain_high_s")}
    policy = tables["policy"].with_columns(**exact)
    simple = policy.filter(policy="replace")
    better = pl.lit(more * (simple["step_s"] + simple["gain_s"]).item())
    gains = ("gain_s", "gain_low_s", "gain_high_s")
    costly = simple.with_columns(
        pl.lit("backup").cast(policy.schema["policy"]).alias("policy"),
        *(pl.col(name) + better for name in gains),
        step_s=pl.col("step_s") - better,
    )
    tables["policy"] = pl.concat([policy, costly])
    assert answers(document, tables)["What helps?"].startswith(says)


@pytest.mark.parametrize(
    ("keys", "apart"), [(("own work",), False), (("own work", "transfers"), True)]
)
def test_only_several_reserves_are_each_alone(audited, keys, apart):
    document, tables = audited("rank")
    other = (pl.col("by") == "work") & ~pl.col("key").is_in(keys)
    tables["stability"] = tables["stability"].filter(~other)
    assert ("each alone" in answers(document, tables)["Up to where?"]) == apart


def test_a_verdict_that_returns_more_than_any_policy_is_said_first(audited):
    document, tables = audited("rank")
    document["verdict"] |= {"kind": "stage", "place": "stage", "stage": 3}
    slight = {name: pl.col(name) / 100 for name in ("gain_s", "gain_low_s", "gain_high_s")}
    tables["policy"] = tables["policy"].with_columns(**slight)
    said = answers(document, tables)["What helps?"]
    assert said.startswith(
        "What the verdict names: Move work out of stage 3? If that is done wholly, "
    )
    assert "more than any policy that was replayed" in said
    assert "Of these, to replace rank 0" in said
    tables["policy"] = tables["policy"].clear()
    assert answers(document, tables)["What helps?"].endswith("not in the record. ")


def test_what_costs_more_machine_time_for_the_same_work_is_not_recommended(audited):
    document, tables = audited("rank")
    tables["policy"] = tables["policy"].with_columns(saving_ratio=-pl.col("saving_ratio").abs())
    assert "without costing more machine time" in answers(document, tables)["What helps?"]


def test_policies_without_an_interval_are_not_recommended(audited):
    document, tables = audited("rank")
    tables["policy"] = (
        tables["policy"]
        .with_columns(gain_low_s=None, gain_high_s=None)
        .cast(dict(tables["policy"].schema))
    )
    assert answers(document, tables)["What helps?"].startswith("Not assessed: one step")


def test_what_is_not_assessed_has_no_answer_but_its_reason(audited):
    document, tables = audited("rank")
    section = document["stability"]
    section["emergent_share_ratio"] = dict.fromkeys(("value", "low", "high")) | {
        "basis": "not assessed: under 8 steps slow parts cannot be told from noise"
    }
    section["step_cv_ratio"]["value"] = None
    section["one_off_gain"]["value"] = None
    found = answers(document, tables)
    assert found["Whose fault is the loss?"].startswith("Not assessed: under 8 steps")
    assert "How steady are the steps?" not in found
    assert "Does the structure absorb or amplify a delay?" not in found


def test_a_document_without_the_section_has_no_answers(audited):
    document, tables = audited("rank")
    del document["stability"]
    assert stability_answers(document, tables) == ()
    assert vector_grid(document).rows == ()
    assert "How stable the structure is" not in render_briefing(document, tables)


def test_variance_is_laid_out_by_place(audited):
    _, tables = audited("rank")
    page = variance_grid(tables)
    assert [row[0].text for row in page.rows[:2]] == ["step time", "own work of all ranks"]
    assert [cell.text for cell in page.rows[0][1:]] == [
        "90.0 %",
        "0.0 %",
        "2.0 %",
        "0.0 %",
        "8.0 %",
    ]
