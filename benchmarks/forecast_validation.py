"""Forecasts beside published step times, every row, misses included, as the page docs/validation.md.

LOADPATH_DATA=FOLDER python benchmarks/forecast_validation.py > docs/validation.md
"""

import os
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from forecast_cases import (
    Case,
    llama3_405b,
    megatron_2021,
    megatron_2024,
    mosaicml,
    selene,
    torchtitan,
)
from forecast_vendor_cases import dgxcloud, megatron_bridge, mlperf, setting
from msgspec.structs import replace

from loadpath.forecast import MeasuredStep, calibrate, step_time

Cases = Callable[[Path], Iterator[Case]]

UNCALIBRATED: dict[str, tuple[Cases, str]] = {
    "selene_a100_step_times": (selene, "mean <= 3.65 %, max <= 8.87 % (Calculon's on these rows)"),
    "megatron_a100_weak_scaling_2021": (megatron_2021, "median <= 10 %"),
    "megatron_h100_weak_scaling_2024": (megatron_2024, "median <= 10 %"),
    "mosaicml_llmfoundry_mpt_mfu": (mosaicml, "median <= 10 %"),
    "llama3_405b_mfu": (llama3_405b, "median <= 10 %"),
    "dgxcloud_benchmarking_weak_scaling": (dgxcloud, "median <= 10 %"),
    "torchtitan_llama3_h100_202412": (torchtitan, "median <= 10 %"),
    "megatron_bridge_perf_summary": (megatron_bridge, "median <= 10 %"),
    "mlperf_llm_scaling_step_times": (mlperf, "none: judged when calibrated, above"),
}
"""Tables whose rows are forecast from data sheets and priors alone, and the bound to meet."""


def errors(cases: list[Case]) -> np.ndarray:
    return np.array([step_time(case.design).step_s / case.step_s - 1 for case in cases])


def summary(ratio: np.ndarray) -> str:
    size = 100 * np.abs(ratio)
    return (
        f"{size.size} | {np.median(size):.1f} | {size.mean():.1f} | {size.max():.1f} | "
        f"{100 * np.median(ratio):+.1f}"
    )


def table(cases: list[Case], ratio: np.ndarray) -> None:
    print("| row | measured s | forecast s | error % |\n|---|---:|---:|---:|")
    for case, error in zip(cases, ratio, strict=True):
        forecast = case.step_s * (1 + error)
        print(f"| {case.label} | {case.step_s:.4g} | {forecast:.4g} | {100 * error:+.1f} |")
    print()


def scaling(folder: Path) -> None:
    """Print GPT-3 of MLPerf v3.1, calibrated at its smallest and a large size."""
    cases = [c for c in mlperf(folder) if c.label.startswith("v3.1 NVIDIA ")]
    ends = [c for c in cases if c.design.cluster.accelerators in {512, 10240}]
    found = calibrate([MeasuredStep(c.design, c.step_s) for c in ends])
    settled = [Case(c.table, c.label, given(c, found.priors), c.step_s) for c in cases]
    ratio, line = errors(settled), straight_line(cases, ends)
    told = ", ".join(f"`{name}` {value:.4g}" for name, value in found.priors.items())
    print("## Calibrated: GPT-3 175B, MLPerf v3.1, NVIDIA H100\n")
    print(
        f"Two priors set at 512 and 10,240 GPUs: {told}. Beside it step = a x microbatches + b.\n"
    )
    print(
        "| row | measured s | forecast s | error % | a x m + b error % |\n|---|---:|---:|---:|---:|"
    )
    judged = []
    for case, error, other in zip(cases, ratio, line, strict=True):
        held = case in ends
        judged.append(not held)
        mark = " (calibrated)" if held else ""
        forecast = case.step_s * (1 + error)
        print(
            f"| {case.label}{mark} | {case.step_s:.4f} | {forecast:.4f} | {100 * error:+.2f} | "
            f"{100 * other:+.2f} |"
        )
    for name, values in (("replayed", ratio), ("a x m + b", line)):
        size = 100 * np.abs(values[judged])
        print(f"\n{name}: median {np.median(size):.2f} %, maximum {size.max():.2f} %.")
    slower = [replace(c.design, priors=found.priors | {"network_ratio": 0.45}) for c in cases]
    change = [
        step_time(s).step_s / step_time(c.design).step_s
        for s, c in zip(slower, settled, strict=True)
    ]
    told = ", ".join(
        f"{c.design.cluster.accelerators}: {100 * (x - 1):+.1f} %"
        for c, x in zip(cases, change, strict=True)
    )
    print(f"\nHalf the bandwidth between nodes changes the step (GPUs: change): {told}.\n")


def straight_line(cases: list[Case], ends: list[Case]) -> np.ndarray:
    """Give the errors of step = a x microbatches + b through two points."""

    def microbatches(case: Case) -> int:
        return int(case.label.split("m=")[1])

    low, high = sorted(ends, key=microbatches)
    a = (high.step_s - low.step_s) / (microbatches(high) - microbatches(low))
    b = low.step_s - a * microbatches(low)
    return np.array([(a * microbatches(c) + b) / c.step_s - 1 for c in cases])


def given(case: Case, priors: dict[str, float]):
    return replace(case.design, priors=priors)


def llama(folder: Path) -> None:
    small, large = llama3_405b(folder)
    found = calibrate([MeasuredStep(small.design, small.step_s)])
    forecast = step_time(given(large, found.priors))
    print("## Calibrated: Llama 3 405B, 8,192 to 16,384 GPUs\n")
    print(
        f"`sustained_ratio` set to {found.priors['sustained_ratio']:.3f} at 8,192 GPUs (430 TFLOP/s "
        f"each). At 16,384: measured {large.step_s:.3f} s, forecast {forecast.step_s:.3f} s, "
        f"{100 * (forecast.step_s / large.step_s - 1):+.2f} % (to reach: 1.6 %).\n"
    )


def utilisation(folder: Path) -> None:
    """Print by how much the share of the peak falls from 64 to 2,048 GPUs."""
    cases = [c for c in dgxcloud(folder) if " 70b " in c.label]
    print("## Change of MFU from 64 to 2,048 GPUs: Llama 3.1 70B, weak scaling\n")
    print("| recipe | measured points | forecast points | difference |\n|---|---:|---:|---:|")
    for name, group in groupby(cases, key=lambda c: c.label.rsplit(" ", 1)[0]):
        runs = {c.design.cluster.accelerators: c for c in group}
        if not {64, 2048} <= runs.keys():
            continue
        small, large = (step_time(runs[n].design) for n in (64, 2048))
        shrunk = [f.mfu_ratio * f.step_s / runs[n].step_s for n, f in ((64, small), (2048, large))]
        told, found = 100 * (shrunk[1] - shrunk[0]), 100 * (large.mfu_ratio - small.mfu_ratio)
        print(f"| {name} | {told:+.2f} | {found:+.2f} | {found - told:+.2f} |")
    print()


INTRODUCTION = """# Validation of the forecast

Each published row below became a [design](formats/design.md) by `benchmarks/forecast_cases.py` and
`benchmarks/forecast_vendor_cases.py`, which say what a row leaves open and what is taken for it; the
step time is that of `loadpath.forecast.step_time`. This page is the output of
`benchmarks/forecast_validation.py`. An error is forecast over measured less 1.

**What set the priors.** Rates of matrix products, their ramp and the cost of uneven rounds: a fit to
profiles of single matrix products on A100 and H100 (`benchmarks/forecast_priors.py`, microsoft/vidur).
Attention: the FlashAttention papers. Links: nccl-tests of single nodes. What a device sustains under
load, and products at 8 bit: the rows of one 8-GPU node under "Rows that set priors", which appear in no
figure of merit. All other values carry their source in `forecast/data/priors.toml`. No prior was set on
a row that is judged here.

**What is left open by the tables** and taken for granted: where no microbatch is printed, that of the
whole replica (up to 4 sequences) without a pipeline and one sequence with it; Megatron layouts of 2021
without overlap of gradients; tensor-parallel transfers in pieces where the framework's recipes say so;
attention kernels of the generation before for PyTorch stacks of 2023 and 2024 and where recipes turn cuDNN off;
gradients of Llama 3 405B added at 32 bit by a pass of their own, as its paper says; experts of Megatron-Bridge
joined or apart, tokens under computation or not, whole steps as graphs or not, up-projections recomputed or not, by
the configurations of the release that a row names (v0.3.0 to v0.5.0); a cap of 500 W where the table prints one.
Rows of models whose layout or dimensions the tables do not give (hybrids, Grok, fine-tuning of Llama 3 8B and without
a layout, MaxText, T5, NeMo launcher) are not forecast. These readings of the rows were settled with the errors in
view; the priors were not.

**What falls short.** GPT-3 of MLPerf is forecast 7 to 20 % too fast at one sequence a microbatch (v3.0, v3.1, and
later rounds on 10,752 and 11,616 GPUs), within 8 % at two (but for 3,072 GPUs of Oracle, whose steps vary by 7 %). What
is missing there follows neither size nor network: on 512 to 10,752 GPUs of v3.1 it is 0.12 s of every step and 0.45 ms
of a microbatch in every layer (7 % of it), which leaves 0.5 % of each row. The former is the upper edge of
`step_overhead`, as calibration finds it; no published figure of those machines tells either. Chunks, graphs, bytes of
gradients and parameters and kernels of attention (flash-attn 1.0.5 and 2.0.8 in v3.0 and v3.1) are those of the
configurations that the submitters published. GPT-3 of DGX Cloud is 10 to 12 % too fast at 16 bit in v24.11.1 and 4 to 6
% in v25.02, whose recipe is the same but for half as many chunks and cuDNN in place of flash-attn, which are replayed,
and seven months of its container (24.05 to 24.12), which are not.

**Replicas that meet in every pass.** Scales of 8-bit products are reduced over all tensor and data ranks in every
pass (`software.scaling = "delayed"`) by the recipes of DGX Cloud and in MLPerf v3.0 and v4.0. In each of them all
replicas wait for the latest: by how much passes scatter is the prior `pass_variance`, from recordings of [two
production jobs](validation_scale.md#noise-and-tails) on other machines, whose passes are longer. With it the MFU of
8-bit Llama 70B falls by 1.51 points from 64 to 2,048 GPUs (measured: 1.21 in two releases, 1.84 in a third; asked:
within 1), with the least and the most of what was recorded by 1.23 and 1.93, without it by 0.55. MLPerf itself took
the reduction away: v3.1 does it within tensors alone (NVTE_DP_AMAX_REDUCE_INTERVAL), and its steps are 1.05 s shorter
than those of v3.0 on 512 GPUs and 1.07 s on 768, other work of half a year included; replayed are 0.95 and 1.04 s, of
which 0.68 and 0.75 s are waiting. Single rows remain that no size explains: 8-bit GPT-3 takes 5.92, 5.96, 6.44, 6.72
and 6.24 s from 128 to 2,048 GPUs in v24.11.1 of DGX Cloud, 5.63 to 5.96 s in v25.02. All its recipes set that
variable too, but the Transformer Engines of their containers know it no more (1.10 of 24.09 and later; whether
1.6.0.dev0 of 24.05 does, which v24.11.1 has for GPT-3, its version does not tell).

GPT-OSS is forecast a third to a half too fast with fused attention. Its learned sinks leave the choice of the kernel to
the versions at hand, and of one release (26.06.01) the table itself says that attention was slow. With scores written to
memory (`software.attention = "unfused"`) 23 of its 27 rows are met within 27 %, the four others (26.06 and 26.08 on
GB200 and GB300) lie between the two; [bands](validation_bands.md) hold both. Layers of experts are 5 to 20 % too fast
on most machines. Where the configurations say that tokens go to each node once (DeepSeek V3 on B200 in 26.04.01) that
is replayed; sent to each expert by themselves, that row would be 76 % too slow. Releases that the configurations do not
tell apart differ by up to three times (Qwen3 235B on B300, Qwen3 30B on H100, 26.02 to 26.04). Long contexts of FSDP
stacks are off by up to 46 %.
"""


def main() -> None:
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        sys.exit("Set LOADPATH_DATA to the folder that holds tables/.")
    folder = Path(root) / "tables"
    results = {}
    for name, (cases, bound) in UNCALIBRATED.items():
        listed = list(cases(folder))
        results[name] = (listed, errors(listed), bound)
    print(INTRODUCTION)
    scaling(folder)
    llama(folder)
    utilisation(folder)
    print("## Uncalibrated, in short\n")
    print("| table | rows | median % | mean % | max % | bias % | to reach |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for name, (_, ratio, bound) in results.items():
        print(f"| {name} | {summary(ratio)} | {bound} |")
    every = np.concatenate(
        [ratio for name, (_, ratio, _) in results.items() if "mlperf" not in name]
    )
    print(f"| all but mlperf | {summary(every)} | median <= 10 % |\n")
    print("## Rows that set priors\n")
    listed = list(setting(folder))
    table(listed, errors(listed))
    for name, (listed, ratio, _) in results.items():
        print(f"## {name}\n")
        table(listed, ratio)


if __name__ == "__main__":
    main()
