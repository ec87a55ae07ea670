from loadpath.brief.wording import headline, time_doubt


def test_a_verdict_that_most_resamples_contradict_is_weak(audited):
    verdict = audited("rank")[0]["verdict"] | {"confidence": 0.41}
    assert headline(verdict) == "Weak evidence: rank 0 (node-0) slows the job"
    calm = audited("none")[0]["verdict"] | {"confidence": 0.41}
    assert headline(calm) == "Weak evidence: nobody is slow"


def test_pauses_of_a_stage_are_said_to_be_of_its_hosts(audited):
    stage = {"kind": "stage", "place": "stage", "stage": 1}
    verdict = audited("rank")[0]["verdict"] | stage
    assert headline(verdict) == "Stage 1 slows the job"
    paused = headline(verdict | {"mechanism": "host"})
    assert paused == "The host side of stage 1 slows the job"


def test_the_headline_of_one_event_says_once(audited):
    verdict = audited("rank")[0]["verdict"]
    course = {"name": "rare", "words": "step 7", "n_steps": 1}
    assert headline(verdict | {"course": course}).endswith("slows the job once, in step 7")
    twice = course | {"words": "steps 7, 9", "n_steps": 2}
    assert headline(verdict | {"course": twice}).endswith("slows the job in steps 7, 9")


def test_the_headline_of_noise_gives_an_upper_bound(audited):
    verdict = audited("rank")[0]["verdict"] | {
        "kind": "jitter",
        "place": "all",
        "mechanism": "noise",
    }
    assert headline(verdict).endswith("noise on all ranks costs time, at most 2.28 s a step")


def test_an_op_table_has_rounded_times_and_traces_have_clocks():
    assert time_doubt("op_table") == "times rounded to"
    assert time_doubt("kineto") == "clocks within"
