"""Designs over sizes: worlds, what they share, and what measured runs leave of them."""

import numpy as np
import pytest
from msgspec.structs import replace
from tests.forecast.designs import design

from loadpath.errors import InputError, UsageError
from loadpath.forecast.advice import advise
from loadpath.forecast.calibration import MeasuredStep
from loadpath.forecast.comparison import compare_designs
from loadpath.forecast.design import Failures, Noise, Prices, Startup
from loadpath.forecast.held_out import held_against
from loadpath.forecast.inversion import Limits
from loadpath.forecast.levers import (
    IMPROVEMENTS,
    LEVERS,
    lever_elasticities,
    pull_levers,
    substitutions,
)
from loadpath.forecast.measured_steps import (
    calibrate_runs,
    condition,
    designs_of_runs,
    measured_of,
    recentred,
    runs_of,
)
from loadpath.forecast.outlook import draw_normals, look_ahead, paid_shares, priced_of
from loadpath.forecast.sizes import resize
from loadpath.forecast.step import step_time
from loadpath.forecast.step_point import design_priors, prior_key, step_point
from loadpath.forecast.transformer import batch_of
from loadpath.tables.measured import RUN_POINT

SIZES = (8, 16, 32, 64)
FREE = {name: prior.value for name, prior in design_priors(design()).items()}
JOB = design(
    accelerators=16, sequences=256, prices=Prices(accelerator_hour=2.0), startup=Startup(steps=1000)
)


def outlook_of(job=JOB, sizes=SIZES, **options):
    designs = [resize(job, n, "strong") for n in sizes]
    return look_ahead(designs, design_priors(job), job, **options)


def flags_of(outlook, **limits):
    flags = advise(outlook, 1, Limits(**limits)).inversions
    assert flags is not None
    return flags


@pytest.fixture(scope="module")
def outlook():
    return outlook_of()


def test_middle_world_is_the_replayed_one(outlook):
    replayed = [step_time(resize(JOB, n, "strong")).step_s for n in SIZES]
    assert np.median(outlook.curve.step_s, axis=0) == pytest.approx(replayed, rel=1e-4)


def test_design_that_leaves_nothing_open_has_one_world():
    certain = replace(JOB, priors=FREE)
    step = outlook_of(certain).curve.step_s
    assert step.std(axis=0) == pytest.approx(0, abs=1e-12)


def test_same_seed_gives_the_same_worlds_and_another_seed_others(outlook):
    assert (outlook_of().curve.step_s == outlook.curve.step_s).all()
    assert not (outlook_of(worlds=(1, 512)).curve.step_s == outlook.curve.step_s).any()


def test_worlds_of_a_prior_do_not_depend_on_what_else_is_unknown():
    alone, beside = draw_normals(["a"], 0, 8), draw_normals(["b", "a"], 0, 8)
    assert (alone["a"] == beside["a"]).all()


def test_shares_of_the_paid_time_sum_to_one(outlook):
    shares = paid_shares(outlook, priced_of(outlook))
    assert {"failures", "startup"} < set(shares)
    assert np.sum(list(shares.values()), axis=0) == pytest.approx(np.ones(len(SIZES)))


def test_prior_moves_a_step_as_its_replay_does():
    point, _ = step_point(JOB, design_priors(JOB))
    prior = design_priors(JOB)["sustained_ratio"]
    at_low = step_time(replace(JOB, priors={"sustained_ratio": prior.low})).step_s
    assert point.shifts[prior_key(prior)][0] == pytest.approx(
        np.log(at_low / step_time(JOB).step_s), abs=1e-3
    )


def test_priors_moved_together_move_a_step_as_their_joint_replay_does():
    priors = design_priors(JOB)
    point, _ = step_point(JOB, priors)
    rng, before = np.random.default_rng(5), step_time(JOB).step_s
    replayed = {key.split()[0]: both for key, both in point.shifts.items()}
    moved = [name for name in replayed if name not in {"model_error", "step_variation"}]
    off = []
    for _ in range(24):
        up = dict(zip(moved, rng.random(len(moved)) < 0.5, strict=True))
        values = {name: priors[name].high if up[name] else priors[name].low for name in moved}
        joint = np.log(step_time(replace(JOB, priors=values)).step_s / before)
        off.append(joint - sum(replayed[name][int(up[name])] for name in moved))
    # All priors at their edges at once: far outside the worlds that are drawn.
    assert np.abs(off).mean() < 0.04


def test_noise_of_the_design_lengthens_the_step_and_is_counted_as_waiting():
    calm, _ = step_point(JOB, design_priors(JOB))
    noisy = replace(JOB, noise=Noise(variation_ratio=0.05))
    point, forecast = step_point(noisy, design_priors(noisy))
    assert point.step_s > 1.05 * calm.step_s
    assert sum(point.limitation.values()) == pytest.approx(1)
    assert point.limitation["waiting"] > forecast.limitation["waiting"]


def test_spare_nodes_are_paid_for():
    spare = replace(JOB, failures=Failures(spares=2))
    ratio = priced_of(outlook_of(spare))["job_cost"] / priced_of(outlook_of())["job_cost"]
    assert ratio[0] == pytest.approx(1 + 16 / np.array(SIZES))


def test_price_that_is_not_agreed_widens_the_cost_alone():
    unsure = replace(JOB, prices=Prices(accelerator_hour=2.0, accelerator_hour_low=1.0, accelerator_hour_high=4.0))  # fmt: skip
    wide, plain = (priced_of(outlook_of(job)) for job in (unsure, JOB))
    assert (wide["step_s"] == plain["step_s"]).all()
    spans = [np.ptp(np.quantile(one["cost_per_unit"][:, 0], [0.05, 0.95])) for one in (wide, plain)]
    assert spans[0] > 2 * spans[1]


# ---- measured runs


def measured_job(**priors):
    """Steps of a job whose priors are others than the shipped ones."""
    truth = replace(JOB, priors=priors)
    return [
        MeasuredStep(resize(JOB, n, "strong"), step_time(resize(truth, n, "strong")).step_s)
        for n in (8, 64)
    ]


def test_calibration_finds_the_priors_of_the_job_and_narrows_its_worlds(outlook):
    runs = measured_job(sustained_ratio=0.7, step_overhead=0.05)
    found = calibrate_runs(runs)
    assert found.priors == pytest.approx({"sustained_ratio": 0.7, "step_overhead": 0.05}, rel=0.01)
    settled = replace(JOB, priors=found.priors)
    bound = look_ahead(
        [resize(settled, n, "strong") for n in SIZES], recentred(design_priors(JOB), found.priors, "runs"), settled,
        measured=measured_of(runs, found),
    )  # fmt: skip
    width, free = (np.log(one.curve.step_s).std(axis=0) for one in (bound, outlook))
    assert (width < 0.25 * free).all()
    assert width[0] < 0.01


def test_one_run_sets_one_prior():
    assert list(calibrate_runs(measured_job(sustained_ratio=0.7)[:1]).priors) == ["sustained_ratio"]


def test_worlds_agree_with_what_was_measured_as_well_as_it_is_known():
    rng = np.random.default_rng(0)
    common, own = rng.standard_normal((2, 20_000, 1))
    errors = np.hstack([0.1 * common + 0.02 * own, 0.1 * common])
    bound = condition(errors, 1, [0.03], rng)
    # Conjugate normals: what is common keeps 0.1 * 0.03 / hypot(0.1, 0.03), the rest all of it.
    left = np.hypot(0.1 * 0.03 / np.hypot(0.1, 0.03), 0.02)
    assert bound.std() == pytest.approx(left, rel=0.03)


def test_run_tells_its_own_batch_parallelism_and_microbatches():
    row = {"n": 32, "step_s": 1.0, "microbatches": 2, "tp": 2, "global_batch": 128}
    runs = RUN_POINT.build({name: [row.get(name)] for name in RUN_POINT.schema})
    (step,) = designs_of_runs(JOB, runs, "runs.csv")
    assert step.design.parallelism.tensor == 2
    batch = batch_of(step.design)
    assert (batch.sequences, batch.microbatch) == (128, 4)
    assert runs_of([step])["microbatches"].to_list() == [2]


def test_runs_that_the_design_cannot_have_made_are_all_named():
    rows = {
        "n": [7, 8, 16],
        "step_s": [1.0] * 3,
        "microbatches": [None, 5, None],
        "tp": [None, None, 3],
    }
    runs = RUN_POINT.build({name: rows.get(name, [None] * 3) for name in RUN_POINT.schema})
    with pytest.raises(InputError, match=r"runs.csv: run 1: .*; run 2: .*; run 3: "):
        designs_of_runs(JOB, runs, "runs.csv")


def test_held_out_run_lies_in_the_band_or_not():
    slow = resize(JOB, 32, "strong")
    outlook = look_ahead([JOB], design_priors(JOB), JOB, held=[slow, slow])
    times = [outlook.held[0].step_s, 3 * outlook.held[0].step_s]
    runs = [MeasuredStep(slow, time) for time in times]
    inside, outside = held_against(runs, outlook, (), on_curve=lambda _: True, level=0.9)
    assert (inside["in_band"], outside["in_band"]) == (True, False)
    assert outside["error_ratio"] == pytest.approx(-2 / 3)


# ---- levers, options, advice


def test_cost_follows_the_price_and_nothing_else_follows_it(outlook):
    rows = {row[0]: row[1] for row in lever_elasticities(outlook, 1, "cost_per_unit").iter_rows()}
    assert set(rows) == set(LEVERS)
    assert rows["price"] == pytest.approx(1)
    assert rows["device_speed"] < 0 < rows["noise"]
    speed, at = pull_levers(outlook, 1, "throughput_per_s")
    assert speed({**at, "price": 3.0}) == pytest.approx(speed(at))


def test_lever_is_a_replay_of_the_changed_design(outlook):
    outcome, at = pull_levers(outlook, 1, "step_s")
    slower = outcome({**at, "device_speed": 0.5})
    before = design_priors(JOB)["sustained_ratio"].value
    replayed = step_time(replace(JOB, priors={"sustained_ratio": before / 2})).step_s
    assert np.median(slower) == pytest.approx(replayed, rel=2e-3)


def test_improvements_stand_beside_the_accelerators_that_do_as_much(outlook):
    table = substitutions(outlook, 1)
    assert set(table["improvement"]) == set(IMPROVEMENTS)
    best = table.row(0, named=True)
    speed = np.median(priced_of(outlook)["throughput_per_s"], axis=0)
    wanted = speed[1] * (1 + best["gain_ratio"])
    reached = np.interp(16 + best["n_added"], SIZES, speed)
    assert reached == pytest.approx(wanted, rel=0.01)
    assert best["worth"] > 0


def test_options_hold_the_present_size_the_cheapest_and_the_largest_that_pays(outlook):
    advice = advise(outlook, 1, Limits(budget=1e9))
    options = {row["option"]: row for row in advice.tables["option"].to_dicts()}
    assert options["do nothing: as designed"]["n"] == 16
    assert options["the largest size looked at that pays"]["n"] == 64
    assert options["do nothing: as designed"]["over_limit_ratio"] == 0


def test_prior_with_the_widest_replayed_band_drives_the_cost(outlook):
    advice = advise(outlook, 1, Limits())
    drivers = dict(advice.tables["driver"].iter_rows())
    spans = {key.split()[0]: np.ptp(both) for key, both in outlook.points[1].shifts.items()}
    assert next(iter(drivers)) == max(spans, key=lambda name: spans[name])
    assert sum(drivers.values()) <= 1.1


def test_planted_optimum_raises_the_average_flag_and_a_flat_family_raises_none():
    steady = replace(JOB, priors=FREE | {"step_overhead": 0.0})
    stuck = replace(JOB, priors=FREE | {"step_overhead": 1.0})
    none, flags = (flags_of(outlook_of(job)) for job in (steady, stuck))
    step = np.array([step_time(resize(stuck, n, "strong")).step_s for n in SIZES])
    crossed = np.interp(1.2, step * SIZES / (step[0] * 8), SIZES)
    assert flags.average is not None
    assert flags.average.n == pytest.approx(crossed, rel=0.15)
    assert none.throughput is None


def test_marginal_flag_needs_to_know_what_work_is_worth(outlook):
    assert flags_of(outlook).marginal is None
    cheap = flags_of(outlook, value=1e-12).marginal
    assert cheap is not None
    assert cheap.likelihood_ratio == 1


# ---- comparison


def test_same_design_under_two_names_is_never_chosen_wrongly():
    found = compare_designs({"a": JOB, "b": JOB}, n_world=64)
    assert [row["expected_loss"] for row in found["candidates"]] == [0, 0]
    assert found["not_shared"] == []
    assert [row["value"] for row in found["pilot"]] == [0, 0]


def test_dearer_twin_loses_in_every_world():
    dear = replace(JOB, prices=Prices(accelerator_hour=3.0))
    found = compare_designs({"dear": dear, "plain": JOB}, n_world=64)
    assert (found["chosen"], found["figure"]) == ("plain", "job_cost")
    assert [row["best_ratio"] for row in found["candidates"]] == [1, 0]


def test_pilot_of_an_open_choice_is_worth_something_and_no_more_than_knowing_all():
    other = replace(JOB, cluster=replace(JOB.cluster, device="H100-SXM5-80GB"), prices=Prices(accelerator_hour=2.1))  # fmt: skip
    found = compare_designs({"a": JOB, "h": other})
    assert all(0 <= row["value"] <= row["most"] for row in found["pilot"])
    assert 0 < found["candidates"][0]["best_ratio"] < 1
    assert max(row["value"] for row in found["pilot"]) > 0


def test_hours_of_other_devices_without_prices_are_said_to_be_taken_as_equal():
    plain = replace(JOB, prices=None)
    other = replace(plain, cluster=replace(JOB.cluster, device="H100-SXM5-80GB"))
    said = " ".join(compare_designs({"a": plain, "h": other}, n_world=64)["assumptions"])
    alike = " ".join(compare_designs({"a": plain, "b": plain}, n_world=64)["assumptions"])
    assert "an accelerator-hour costs as much of each candidate" in said
    assert "H100-SXM5-80GB" in said
    assert "accelerator-hour" not in alike


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (replace(JOB, prices=Prices(accelerator_hour=1.0, currency="EUR")), "EUR, USD"),
        (None, "two candidates or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, why):
    designs = {"a": JOB} if other is None else {"a": JOB, "b": other}
    with pytest.raises(UsageError, match=why):
        compare_designs(designs)
