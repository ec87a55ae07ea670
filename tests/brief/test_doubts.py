from loadpath.brief.doubts import doubts


def test_twins_runner_up_and_baselines_are_doubts(audited):
    said = doubts(audited("rank")[0])
    assert said[0] == "A median replay error above 3.0 % would withdraw it; it is 0.3 %."
    assert "cannot tell rank 0 (node-0) from device or host of rank 0" in said[1]
    assert said[2].startswith("The runner-up is stage 3: fixing it returns 55.6 ms a step (95 %:")
    assert said[3].endswith("best 2.104, mean 1.881, median 1.973.")


def test_a_job_above_the_gate_asks_for_a_better_recording(audited):
    said = doubts(audited("not_assessable")[0])
    assert said[0].endswith("under 3.0 % is needed; this one's is 11.4 %.")


def test_a_job_below_the_gate_that_is_not_assessable_points_at_its_caveats(audited):
    document, _ = audited("not_assessable")
    document["replay"]["error_ratio_median"] = 0.01
    assert doubts(document)[0] == "The input named in the verdict and in the caveats is needed."


def test_without_a_replay_error_a_replayable_recording_is_asked_for(audited):
    document, _ = audited("not_assessable")
    document["replay"]["error_ratio_median"] = None
    assert "a recording that can be replayed is needed" in doubts(document)[0]


def test_a_lone_cause_has_no_runner_up(audited):
    document, _ = audited("rank")
    document["verdict"]["runner_up"] = None
    document["slowdown"]["by_baseline"] = {"median": {"ratio": 1.9}, "best": None}
    said = doubts(document)
    assert "No other candidate cause was found." in said
    assert said[-1].endswith("median 1.900.")


def test_a_runner_up_known_by_name_only_is_named(audited):
    document, _ = audited("rank")
    document["verdict"]["runner_up"] = "stage 2"
    document["slowdown"]["by_baseline"] = {}
    assert doubts(document)[-1] == "The runner-up is stage 2."
