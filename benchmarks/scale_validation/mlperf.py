"""MLPerf: power, cost against size, time to train, bands on sizes held out."""

import numpy as np
import polars as pl

from loadpath.forecast.baselines import choose_baseline, fit_baselines
from loadpath.forecast.inversion import find_inversions
from loadpath.forecast.time_to_train import (
    JobPlan,
    fit_convergence,
    fit_duration,
    job_time_s,
)
from loadpath.price.power import fit_node_power
from loadpath.tables.measured import RUN_POINT
from scale_validation.rows import markdown, percent, read

POWER, ENERGY, WORST = 0.05, 0.10, 1.2
FEWEST_SIZES = 4
GPT3_EVALUATE_EVERY = 24_576
CALIBRATED = (512, 10240)
J_PER_KWH = 3.6e6


def runs(n, step_s, batch=None, microbatches=None):
    """Table RUN_POINT of runs."""
    columns = {"n": n, "step_s": step_s, "global_batch": batch, "microbatches": microbatches}
    given = {name: pl.Series(values) for name, values in columns.items() if values is not None}
    table = pl.DataFrame(given)
    return table.select(
        pl.col(name).cast(dtype) if name in given else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in RUN_POINT.schema.items()
    )


def power(folder):
    table = read(folder, "mlperf_training_power.csv")
    numbers = [name for name in table.columns[5:] if table[name].dtype == pl.String]
    table = table.with_columns(pl.col(numbers).cast(pl.Float64, strict=False))
    rows, errors = [], []
    for (side,), every in table.group_by("submitter", maintain_order=True):
        alone = every.filter(pl.col("nodes") == 1)
        nodes = fit_node_power(
            alone.select(
                "benchmark",
                mean_w=pl.col("node_mean_w").cast(pl.Float64),
                low_w=pl.col("sample_p1_w").cast(pl.Float64),
                high_w=pl.col("sample_max_w").cast(pl.Float64),
            )
        )
        minutes = dict(alone.group_by("benchmark").agg(pl.col("run_min").median()).iter_rows())
        for run in every.filter(pl.col("nodes") > 1).iter_rows(named=True):
            name, n = run["benchmark"], run["nodes"]
            busy = minutes[name] / (n * run["run_min"]) if name in minutes else 1.0
            predicted = float(nodes.get(name, nodes[""]).power_w(busy, n))
            told = run["total_mean_kw"] * 1e3
            kwh = predicted * run["run_min"] * 60 / J_PER_KWH
            error = predicted / told - 1, kwh / run["energy_kwh"] - 1
            errors.append(error)
            is_ok = abs(error[0]) <= POWER and abs(error[1]) <= ENERGY
            rows.append(
                (side, name, n, f"{busy:.2f}", f"{told / 1e3:.2f}", f"{predicted / 1e3:.2f}",
                 percent(error[0]), f"{run['energy_kwh']:.2f}", f"{kwh:.2f}", percent(error[1]),
                 "" if is_ok else "miss")
            )  # fmt: skip
    off = np.abs(errors)
    head = ("side", "benchmark", "nodes", "busy", "kW", "predicted", "error", "kWh", "predicted",
            "error", "")  # fmt: skip
    return (
        "**Power and energy of training runs**, fitted on the one-node runs alone (power 5 %, energy "
        f"10 %): {int((off[:, 0] <= POWER).sum())} of {len(rows)} within 5 % (median "
        f"{percent(np.median(off[:, 0]))}, largest {percent(off[:, 0].max())}), "
        f"{int((off[:, 1] <= ENERGY).sum())} within 10 %. Power runs between idle and busy with the "
        "throughput per accelerator over that of one node (`busy`, from run times; 1 for GPT-3, which "
        "never ran on one); energy takes the measured run time. Switches are left out on both "
        "sides.\n\n" + markdown(head, rows) + "\n"
    )


def families(folder):
    """Fastest system per size of each benchmark, accelerator and round."""
    table = read(folder, "mlperf_cost_vs_n.csv").drop_nulls("ttt_min_median")
    best = table.sort("ttt_min_median").unique(
        ["benchmark", "accel", "round", "chips"], keep="first", maintain_order=True
    )
    for key, group in best.sort("benchmark", "accel", "round", "chips").group_by(
        "benchmark", "accel", "round", maintain_order=True
    ):
        if group.height >= FEWEST_SIZES:
            yield key, group


def crossing(n, minutes):
    """Size at which chip-hours pass 1.2 times the best, or None."""
    flag = find_inversions(n, 1 / np.asarray(minutes)[None, :], worst_ratio=WORST).average
    return None if flag is None else flag.n


def cost(folder):
    rows, n_ok, n_all = [], 0, 0
    for key, group in families(folder):
        n, minutes = group["chips"].to_numpy(), group["ttt_min_median"].to_numpy()
        kept = np.zeros(len(n), dtype=bool)
        kept[::2] = kept[-1] = True
        model = choose_baseline(fit_baselines(runs(n[kept], minutes[kept] * 60)))
        predicted = model.step_s(runs(n, minutes * 60))
        fine = np.unique(np.geomspace(n[0], n[-1], 200).astype(int))
        told = crossing(n, minutes)
        found = crossing(fine, model.step_s(runs(fine, np.ones(len(fine)))))
        step = distance(n, told, found)
        n_all += 1
        n_ok += step <= 1
        held = predicted[~kept] / minutes[~kept] / 60 - 1
        rows.append(
            ("/".join(key), len(n), f"{n[0]} to {n[-1]}", model.name,
             percent(held[np.abs(held).argmax()]) if len(held) else "",
             "none" if told is None else f"{told:.0f}", "none" if found is None else f"{found:.0f}",
             "" if step <= 1 else "miss")
        )  # fmt: skip
    head = ("benchmark/accelerator/round", "sizes", "range", "baseline", "worst held-out time",
            "inverts at", "predicted", "")  # fmt: skip
    return (
        "**Cost against size.** Chip-hours to the target above 1.2 times the best: curves fitted on "
        "every second size and the largest (no structure: baselines alone), against the crossing of all "
        f"measured sizes; {n_ok} of {n_all} within one size step. Sizes of one family come from "
        "different submitters and batches.\n\n" + markdown(head, rows) + "\n"
    )


def distance(n, told, found):
    """Size steps between two crossings; a missing one lies beyond the largest size."""
    place = [len(n) if one is None else float(np.interp(np.log(one), np.log(n), np.arange(len(n))))
             for one in (told, found)]  # fmt: skip
    return abs(place[0] - place[1])


def coverage(folder):
    inside, rows = [], []
    for key, group in families(folder):
        n, minutes = group["chips"].to_numpy(), group["ttt_min_median"].to_numpy()
        held = []
        for i in range(1, len(n) - 1):
            rest = np.arange(len(n)) != i
            model = choose_baseline(fit_baselines(runs(n[rest], minutes[rest] * 60)))
            one = runs(n[i : i + 1], [60.0])
            error = np.log(model.step_s(one)[0] / minutes[i] / 60)
            held.append(abs(error) <= np.log(model.band_factor(one, 0.9)[0]))
        inside += held
        missed = [str(size) for size, is_in in zip(n[1:-1], held, strict=True) if not is_in]
        rows.append(("/".join(key), f"{sum(held)} of {len(held)}", ", ".join(missed)))
    return (
        f"**Bands of MLPerf times.** Each size between the smallest and the largest held out in turn: "
        f"90 % bands hold {np.mean(inside):.0%} of {len(inside)} (asked: 80 to 97 %).\n\n"
        + markdown(("benchmark/accelerator/round", "inside", "sizes outside"), rows)
        + "\n"
    )


def evaluation(rest):
    """Shared and common part of an evaluation; nothing where no row tells its time."""
    told = rest.drop_nulls("eval_s_median")
    if told.is_empty():
        return 0.0, 0.0
    return fit_duration(told["chips"].to_numpy(), told["eval_s_median"].to_numpy())[:2]


def time_to_train(folder):
    table = read(folder, "mlperf_llm_scaling_step_times.csv").filter(
        pl.col("benchmark") == "gpt3", pl.col("step_s").is_not_null()
    )
    rows, errors = [], []
    for key, group in table.group_by("submitter", "round", "accelerator", maintain_order=True):
        if group.height < FEWEST_SIZES:
            continue
        for i in range(group.height):
            rest = group.filter(pl.Series(np.arange(group.height) != i))
            least, critical, _ = fit_convergence(
                rest["global_batch_seqs"].to_numpy(), rest["steps_to_target_median"].to_numpy()
            )
            plan = JobPlan(least, critical, GPT3_EVALUATE_EVERY, *evaluation(rest))
            points = runs(rest["chips"], rest["step_s"], rest["global_batch_seqs"],
                          rest["microbatches"])  # fmt: skip
            model = choose_baseline(fit_baselines(points))
            one = group[i]
            here = runs(one["chips"], one["step_s"], one["global_batch_seqs"], one["microbatches"])
            chips, batch = one["chips"][0], one["global_batch_seqs"][0]
            step_s = float(model.step_s(here)[0])
            minutes = float(job_time_s(plan, chips, batch, step_s)) / 60
            error = minutes / one["ttt_min_median"][0] - 1
            errors.append(error)
            rows.append(
                (*key, chips, batch, (f"{one['steps_to_target_median'][0]:.0f} / "
                 f"{float(plan.n_step(batch)):.0f}"), f"{one['step_s'][0]:.3f} / {step_s:.3f}",
                 f"{one['ttt_min_median'][0]:.2f} / {minutes:.2f}", percent(error))
            )  # fmt: skip
    head = ("submitter", "round", "accelerator", "chips", "batch", "steps / predicted", "step s / predicted",
            "minutes / predicted", "error")  # fmt: skip
    return (
        "**Time to train of GPT-3**, each row held out: convergence, evaluation and step time (the "
        "baseline chosen by cross-validation; no structure) from the other rows of the submitter, "
        "round and accelerator; families of four rows and more. TPU rows tell no evaluation times: none "
        f"are added. Mean error {percent(np.mean(np.abs(errors)))}, largest "
        f"{percent(errors[int(np.argmax(np.abs(errors)))])}.\n\n" + markdown(head, rows) + "\n"
    )


def calibrated(folder):
    """GPT-3 of NVIDIA's v3.1 from two of its sizes: time, cost and where it inverts."""
    every = read(folder, "mlperf_llm_scaling_step_times.csv").filter(pl.col("benchmark") == "gpt3")
    is_ours = (pl.col("submitter") == "NVIDIA") & (pl.col("round") == "v3.1")
    table = every.filter(is_ours).sort("chips")
    known = table.filter(pl.col("chips").is_in(CALIBRATED))
    others = every.filter(~is_ours).drop_nulls("steps_to_target_median")
    least, critical, _ = fit_convergence(
        others["global_batch_seqs"].to_numpy(), others["steps_to_target_median"].to_numpy()
    )
    plan = JobPlan(least, critical, GPT3_EVALUATE_EVERY, *evaluation(known))
    columns = ("chips", "step_s", "global_batch_seqs", "microbatches")
    model = next(one for one in fit_baselines(runs(*known.select(columns))) if one.name == "affine")
    chips, batch = table["chips"].to_numpy(), table["global_batch_seqs"].to_numpy()
    minutes = job_time_s(plan, chips, batch, model.step_s(runs(*table.select(columns)))) / 60
    told = table["ttt_min_median"].to_numpy()
    flags = crossing(chips, told), crossing(chips, minutes)
    step = distance(chips, *flags)
    rows = [
        (n, f"{a:.2f}", f"{b:.2f}", percent(b / a - 1), f"{n * a / 60:.0f}", f"{n * b / 60:.0f}",
         "fitted" if n in CALIBRATED else "")
        for n, a, b in zip(chips.tolist(), told, minutes, strict=True)
    ]  # fmt: skip
    head = ("chips", "minutes", "predicted", "error", "chip-hours", "predicted", "")
    return (
        "**Cost of GPT-3, NVIDIA v3.1, from 512 and 10,240 chips alone** (steps by a x m + b, "
        "evaluation from the same two rows, convergence, which is the model's and not the machine's, from "
        f"{others.height} rows of other rounds and submitters): average cost passes 1.2 times the best at "
        f"{flags[0]:.0f} chips, predicted {flags[1]:.0f}: {step:.2f} size steps apart.\n\n"
        + markdown(head, rows)
        + "\n"
    )


def judge(folder):
    text = (
        "\nAsked: power 5 %, energy 10 %; inversion size within one size step; held-out error of time to "
        "train; 90 % bands hold 80 to 97 %.\n"
    )
    parts = [
        "## MLPerf",
        text,
        power(folder),
        calibrated(folder),
        cost(folder),
        coverage(folder),
        time_to_train(folder),
    ]
    return "\n".join(parts)
