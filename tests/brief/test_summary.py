import pytest

from loadpath.brief import render_summary

KINDS = ("rank", "host", "none", "not_assessable")


@pytest.mark.parametrize("kind", KINDS)
def test_a_summary_has_at_most_25_lines_of_80_columns(audited, kind):
    text = render_summary(audited(kind)[0], briefing_path="audit/" + "deep/" * 40 + "briefing.html")
    assert len(text.splitlines()) <= 25
    assert max(len(line) for line in text.splitlines()) <= 80


def test_long_texts_are_shortened_but_the_briefing_is_still_named(audited):
    document, _ = audited("rank")
    document["verdict"]["summary"] = "word " * 400
    document["verdict"]["indistinguishable_from"] = [f"rank {i} " + "x" * 50 for i in range(40)]
    document["caveats"] = [{"code": "c", "text": "doubt " * 300, "count": 3}]
    lines = render_summary(document, briefing_path="out/briefing.html").splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "Briefing       out/briefing.html"
    assert any(line.endswith(" ...") for line in lines)


def test_replay_error_comes_first(audited):
    for kind in KINDS:
        assert render_summary(audited(kind)[0]).startswith("Replay error")


def test_a_culprit_is_named_with_what_fixing_it_returns(audited):
    text = render_summary(audited("rank")[0])
    assert "RANK - Rank 0 (node-0) slows the job" in text
    assert "returns 2.28 s of a step of 4.63 s (49.3 %)" in text
    flowing = " ".join(text.split())
    assert "493 of every 1,000 GPU-hours: 1,232 of every 2,500 USD" in flowing
    assert "stage 3, 55.6 ms a step" in text
    assert "Cannot tell    it from device or host of rank 0" in text.splitlines()


def test_dashboards_that_accuse_the_wrong_one_are_called_wrong(audited):
    text = " ".join(render_summary(audited("none")[0]).split())
    right, wrong = text.split("Dashboards right: ")[1].split(" Caveats")[0].split("; wrong: ")
    assert "last arriver rank 3" in wrong
    assert "throughput nobody" in right


def test_nobody_slow_promises_no_gain(audited):
    text = render_summary(audited("none")[0])
    assert "NONE - Nobody is slow" in text
    assert "Fixing it" not in text


def test_a_job_above_the_gate_gets_no_cause(audited):
    text = render_summary(audited("not_assessable")[0])
    assert "Replay error   11.4 % median" in text
    assert "Fixing it      not assessed" in text


def test_terminal_commands_in_names_are_spelled_out(hostile):
    document, tables = hostile
    document["verdict"]["summary"] = tables["caveat"]["text"][1]
    text = render_summary(document)
    assert not any(letter in text for letter in "\x1b\x07\u202e")
    assert r"\x1b[31m" in text


def test_a_job_without_caveats_price_or_runner_up_says_so(audited):
    document, _ = audited("rank", rate=False)
    document["caveats"] = []
    document["verdict"] |= {"runner_up": None, "confidence": None}
    text = render_summary(document)
    assert "Caveats        none" in text
    assert "Confidence     not assessed" in text
    assert "Runner-up" not in text
    assert "GPU-hours" not in text


def test_gpu_hours_are_given_without_a_price(audited):
    document, _ = audited("rank")
    del document["stake"]["money_per_1000"]
    assert "493 of every 1,000 GPU-hours\n" in render_summary(document)


def test_a_gain_whose_interval_holds_0_has_no_share_in_the_summary(audited):
    document, _ = audited("rank")
    document["verdict"]["causes"][0]["gain_low_s"] = -0.1
    text = " ".join(render_summary(document).split())
    assert "-100 ms to 2.40 s at 95 %, which holds 0: no share is given What to do" in text
    assert "of the waste" not in text


def test_noise_is_given_as_an_upper_bound(audited):
    document, _ = audited("rank")
    document["verdict"] |= {"kind": "jitter", "place": "all", "mechanism": "noise"}
    assert "returns at most 2.28 s of a step" in render_summary(document)


def test_waits_of_a_job_that_is_not_assessed_are_not_shown(audited):
    text = render_summary(audited("not_assessable")[0])
    assert "Waiting        not shown: no conclusion across ranks" in text


def test_room_is_made_by_what_the_briefing_holds_before_a_caveat_is_lost(audited):
    document, _ = audited("rank")
    document["verdict"]["summary"] = "word " * 60
    document["frontier"] = {"trace_next": {"text": "trace " * 20}}
    text = render_summary(document, briefing_path="out/briefing.html")
    assert len(text.splitlines()) <= 25
    assert "\nCaveats " in text
    assert "\nRunner-up " not in text


def test_ranks_that_stand_for_others_are_said_to(audited):
    document, _ = audited("rank")
    document["job"]["ranks_represented"] = 4 * document["job"]["ranks"]
    text = " ".join(render_summary(document).split())
    assert "Job 16 ranks, recorded for 64, 44 steps" in text
    assert "On rank 0 (node-0), recorded for 4 ranks," in text
