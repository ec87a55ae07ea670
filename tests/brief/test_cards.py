import pytest

from loadpath.brief.cards import cards


def said(document):
    return {
        card.heading: " ".join(
            part
            for part in (
                card.before,
                card.main.text,
                card.after,
                *("".join(cell.text for cell in note) for note in card.notes),
            )
            if part
        )
        for card in cards(document)
    }


def test_waste_stands_beside_the_slowdown_of_its_own_baseline(audited):
    document, _ = audited("rank")
    document["slowdown"] |= {
        "ratio": 1.973,
        "waste_ratio": 0.537,
        "by_baseline": {"median": 2.161, "mean": 1.973, "best": 2.2},
    }
    assert said(document)["Slowdown"] == (
        "2.161 53.7 % of the step is waste, against the peers' median "
        "by the published method: 1.973"
    )


def test_one_method_needs_no_second_slowdown(audited):
    assert "published" not in said(audited("rank")[0])["Slowdown"]


def test_a_baseline_without_waste_claims_none(audited):
    document, _ = audited("rank")
    document["slowdown"] |= {"waste_ratio": -0.005, "by_baseline": {"median": 0.995}}
    document["slowdown"]["ratio"] = 0.995
    assert said(document)["Slowdown"] == "0.995 against the peers' median"


def test_resamples_that_all_agree_are_counted_not_called_certain(audited):
    document, _ = audited("rank")
    document["verdict"] |= {
        "confidence": 1.0,
        "n_resamples": 1000,
        "confidence_method": "share of 1,000 resamples of steps with this verdict",
    }
    text = said(document)["Confidence"]
    assert text.startswith("1,000 of 1,000 resamples of steps with this verdict")
    assert "100" not in text.replace("1,000", "")


@pytest.mark.parametrize("kind", ["none", "absorbed"])
def test_where_nothing_pays_the_policy_bounds_what_a_fix_returns(audited, kind):
    document, _ = audited("rank")
    document["verdict"] |= {"kind": kind}
    text = said(document)
    assert text["A fix returns"].startswith("under 0.5 % of the step")
    assert text["At stake"].startswith("under 12.50 USD 5 of every 1,000 GPU-hours")


def test_without_a_rate_the_bound_is_in_gpu_hours(audited):
    document, _ = audited("none")
    document["stake"] = {"gpu_hours_per_1000": 0.0}
    assert said(document)["At stake"].startswith("under 5 GPU-hours of every 1,000 GPU-hours")


def test_noise_returns_at_most_what_its_removal_would(audited):
    document, _ = audited("rank")
    document["verdict"] |= {"kind": "jitter", "place": "all", "mechanism": "noise"}
    text = said(document)
    assert text["A fix returns"].startswith("at most 2.28 s a step")
    assert text["At stake"].startswith("at most ")


def test_a_gain_of_another_step_is_not_given_as_that_of_this_one(audited):
    document, _ = audited("rank")
    verdict = document["verdict"]
    verdict |= {
        "kind": "jitter",
        "place": "all",
        "mechanism": "noise",
        "gain_s": 0.7,
        "step_s_without": 3.9336,
    }
    text = said(document)["A fix returns"]
    assert text.startswith("at most 700 ms a step 2.28 s beyond the slow places, 2.19 s to")


def test_a_gain_whose_interval_holds_0_has_no_share(audited):
    document, _ = audited("rank")
    document["verdict"]["causes"][0]["gain_low_s"] = -0.1
    text = said(document)
    assert "the interval holds 0: no share is given" in text["A fix returns"]
    assert text["At stake"] == "no share the gain's interval holds 0"


def test_a_job_that_is_not_assessed_has_no_figures(audited):
    document, _ = audited("not_assessable")
    document["slowdown"] |= {"ratio": 1.43, "waste_ratio": 0.3}
    assert said(document) == {
        "A fix returns": "not assessed a step takes 4.63 s",
        "At stake": "not assessed no conclusion is drawn",
        "Confidence": "not assessed",
        "Slowdown": "not assessed",
    }


def test_a_job_without_accelerators_spends_hours_of_its_ranks(audited):
    document, _ = audited("none")
    document["stake"] = {"gpu_hours_per_1000": 0.0, "hours_of": "rank"}
    assert said(document)["At stake"].startswith("under 5 rank-hours of every 1,000 rank-hours")
