"""Forecasts of published steps that nobody had looked at when the forecast was built.

python benchmarks/forecast_unseen.py benchmarks/unseen_runs > docs/validation_unseen.md
The folder holds designs (`*.toml`, the source in the first line) and runs of the same names (`*.csv`, as `--points`).
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from forecast_bands import band
from forecast_cases import Case
from msgspec.structs import replace

from loadpath.forecast import MeasuredStep, parse_design, step_time
from loadpath.forecast.calibration import Calibration
from loadpath.forecast.layout import lay_out
from loadpath.forecast.measured_steps import calibrate_runs, designs_of_runs
from loadpath.ingest.run_table import read_runs

HEAD = """# Steps that nobody had looked at

Output of `python benchmarks/forecast_unseen.py benchmarks/unseen_runs`: published steps that were not at hand when the forecast was
built, each series one [design](formats/design.md) written by the page of the format, and its runs as `--points` and
`--calibrate` take them. No prior was set on a row of this page. What a source leaves open is said with it; kernels of
attention are those of the date of the source.

**What these rows changed.** Calibration stayed where it began if both ends did the same work a replica (weak
scaling), and ran away where two priors did the same; it is now [damped and kept near](formats/forecast.md#how). Links
of TPUs were listed at half of their rate and joined by a switch: they are now those of a torus (data sheet), and
shares of products on TPUs are those of measured products (first forecast of 16B to 64B on v5e: 4 % too fast to 23 %
too slow). Parallel blocks, windows of all layers, parameters gathered at 8 bit and adapters could not be said.

DGX Cloud of 2025 and LoRA of MLPerf came last and changed nothing: waiting of replicas that meet in every pass was set
before, on recordings of other jobs. On H100 8-bit Llama 70B loses 1.2 points of the peak from 64 to 2,048 GPUs (forecast
1.5) and 405B 0.7 from 512 (0.7); on GB200 0.6 to 1.2 from 128 to 512 (1.9 to 2.1): faster devices seem to scatter less.

**What falls short.** Work that grows with the machine and not with the job: MaxText loses 6 to 10 points of the peak
from 1 to 32 pods and Nemotron-4 15B 4 from 768 to 2,304 GPUs, of which the replay tells a point; of 12 that the
baseline of MegaScale loses from 256 to 12,288 it tells 6. Calibrated at both ends the sizes between are met within 8
%. Nobody published what is waited for there. GPT-3 in Megatron-Core on H100 is 16 % too fast at every size (7 to 12 %
in MLPerf and DGX Cloud of 2024), Llama is not: matrix products cut into pieces beside their transfers, each with
rounds of tiles of its own, would say a third of it, but streams that work on several pieces at once win that back, by
how much nobody published. 8-bit Llama 70B on eight stages is 10 % too slow, on four (v25.02) 4 % too fast: output
layers weigh on the last of eight, where the recipe puts off some of their gradients. LoRA with one sequence a replica is
a quarter too fast (launches of its short kernels may be what is waited for), with four on one node 3 %. DeepSpeed
frameworks of 2021 are slower than their layouts: MT-NLG by a fifth; ZeRO-3 takes 1.4 to 4 times as long, for its
gathers reach 8 % of the network (as calibration finds it). Layers of TPUs with everything recomputed are too slow,
those with little recomputed too fast, by 5 to 15 % (PaLM 16 %); activations that are kept on the host (v5e_128b) or computed again
alone (v5p_32b, v5p_64b) cannot be said, so that these designs do not fit memory.
"""


class Series(NamedTuple):
    """Runs of one design at several sizes."""

    name: str
    source: str
    runs: list[MeasuredStep]

    @property
    def label(self) -> str:
        return self.runs[0].design.name


def read(folder: Path) -> list[Series]:
    found = []
    for path in sorted(folder.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        runs = read_runs(path.with_suffix(".csv"))
        steps = designs_of_runs(parse_design(text, path.name), runs, path.stem)
        source = text.splitlines()[0].removeprefix("# ")
        found.append(Series(path.stem, source, sorted(steps, key=size)))
    return found


def size(step: MeasuredStep) -> int:
    return step.design.cluster.accelerators


def errors(runs: list[MeasuredStep], priors: dict[str, float]) -> np.ndarray:
    forecasts = [step_time(replace(r.design, priors=r.design.priors | priors)).step_s for r in runs]
    return np.array(forecasts) / [r.step_s for r in runs] - 1


def straight_line(runs: list[MeasuredStep]) -> np.ndarray | None:
    """Give the errors of a x microbatches + b through the ends; None where these have as many."""
    passes = np.array([lay_out(r.design).microbatches for r in runs], float)
    steps = np.array([r.step_s for r in runs])
    if passes[0] == passes[-1]:
        return None
    a = (steps[-1] - steps[0]) / (passes[-1] - passes[0])
    return (steps[0] + a * (passes - passes[0])) / steps - 1


def utilisation(runs: list[MeasuredStep]) -> str:
    """Say by how many points the share of the peak changes from the smallest to the largest size."""
    ends = [step_time(runs[k].design) for k in (0, -1)]
    told = [
        100 * f.mfu_ratio * f.step_s / runs[k].step_s for f, k in zip(ends, (0, -1), strict=True)
    ]
    forecast = 100 * (ends[1].mfu_ratio - ends[0].mfu_ratio)
    return f"{told[1] - told[0]:+.1f} / {forecast:+.1f}"


def held(ratio: np.ndarray | None) -> str:
    if ratio is None:
        return ""
    inner = 100 * np.abs(ratio[1:-1])
    return f"{np.median(inner):.2f} / {inner.max():.2f}"


def calibrated(runs: list[MeasuredStep]) -> Calibration | None:
    return calibrate_runs([runs[0], runs[-1]]) if len(runs) > 2 else None


def rows(series: Series, found: Calibration | None, bands: list[np.ndarray]) -> str:
    """List every run: measured, forecast, band, and what calibration and the straight line leave."""
    runs = series.runs
    plain = errors(runs, {})
    settled = errors(runs, found.priors) if found else None
    line = straight_line(runs) if found else None
    told = []
    for place, (run, (low, high)) in enumerate(zip(runs, bands, strict=True)):
        batch = run.design.batch
        after = "" if settled is None else f"{100 * settled[place]:+.2f}"
        beside = "" if line is None else f"{100 * line[place]:+.2f}"
        miss = "" if low <= run.step_s <= high else "miss"
        told.append(
            f"| {size(run)} | {batch.sequences if batch else ''} | {run.step_s:.4g} | "
            f"{run.step_s * (1 + plain[place]):.4g} | {100 * plain[place]:+.1f} | {low:.4g} to {high:.4g} | "
            f"{miss} | {after} | {beside} |"
        )
    priors = ", ".join(f"`{n}` {v:.4g}" for n, v in found.priors.items()) if found else ""
    note = f"Calibrated at both ends: {priors}.\n\n" if found else ""
    return (
        f"## {series.label}\n\n{series.source} (`{series.name}`).\n\n{note}"
        "| accelerators | sequences | measured s | forecast s | error % | 90 % band s | | calibrated error % "
        "| a x m + b error % |\n|---:|---:|---:|---:|---:|---|---|---:|---:|\n" + "\n".join(told)
    )


def main() -> None:
    series = read(Path(sys.argv[1]))
    lines, parts, off, inside = [], [], [], []
    for one in series:
        plain, found = errors(one.runs, {}), calibrated(one.runs)
        bands = [band(Case("", "", r.design, r.step_s), whole=True) for r in one.runs]
        within = [a <= r.step_s <= b for r, (a, b) in zip(one.runs, bands, strict=True)]
        settled = errors(one.runs, found.priors) if found else None
        lines.append(
            f"| {one.label} | {len(plain)} | {100 * np.median(plain):+.1f} | {sum(within)} | "
            f"{utilisation(one.runs) if len(plain) > 1 else ''} | {held(settled)} | "
            f"{held(straight_line(one.runs)) if found else ''} |"
        )
        parts.append(rows(one, found, bands))
        off += plain.tolist()
        inside += within
    print(HEAD)
    print(
        "| series | rows | median error % | inside band | MFU, measured / forecast points "
        "| held out, calibrated: median / max % | a x m + b |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    print("\n".join(lines))
    sizes = 100 * np.abs(off)
    print(
        f"\nAll {len(off)} rows: median {np.median(sizes):.1f} %, mean {sizes.mean():.1f} %, bias "
        f"{100 * np.median(off):+.1f} %; {100 * np.mean(inside):.0f} % inside the band.\n"
    )
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
