"""Fit of the priors of matrix products to published profiles of single kernels.

python benchmarks/forecast_priors.py FOLDER, where FOLDER is data/profiling/compute of microsoft/vidur (MIT).
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import least_squares

from loadpath.forecast.devices import shipped_devices
from loadpath.forecast.layer_work import TILE

MODELS = (
    "Qwen/Qwen-72B",
    "internlm/internlm-20b",
    "meta-llama/Llama-2-70b-hf",
    "meta-llama/Llama-2-7b-hf",
)
DEVICES = {"a100": "A100-SXM4-80GB", "h100": "H100-SXM5-80GB"}
LEAST_FLOP = 1e10
"""Smaller products are those of decoding, not of training."""


def products(folder: Path) -> np.ndarray:
    """Read rows, columns, inner width and seconds of all products of at least 256 tokens."""
    found = []
    for model in MODELS:
        frame = pl.read_csv(folder / model / "mlp.csv").filter(pl.col("num_tokens") >= 256)
        hidden, tensor = pl.col("n_embd"), pl.col("num_tensor_parallel_workers")
        inner, fan = pl.col("n_expanded_embd"), 1 + pl.col("use_gated_mlp").cast(pl.Int64)
        heads = pl.col("n_head") + 2 * pl.col("n_kv_head")
        for name, columns, depth in (
            ("attn_pre_proj", heads * (hidden // pl.col("n_head")) // tensor, hidden),
            ("attn_post_proj", hidden, hidden // tensor),
            ("mlp_up_proj", fan * inner // tensor, hidden),
            ("mlp_down_proj", hidden, inner // tensor),
        ):
            seconds = pl.col(f"time_stats.{name}.median") / 1e3
            found.append(
                frame.select(pl.col("num_tokens").alias("m"), columns.alias("n"), depth.alias("k"),
                             seconds.alias("s")).to_numpy()
            )  # fmt: skip
    table = np.concatenate(found).astype(float)
    return table[2 * table[:, :3].prod(axis=1) > LEAST_FLOP]


def fit(table: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Fit ratio, share of a round and ramp; give them and the root mean square error of logarithms."""
    device = shipped_devices()[name]
    m, n, k, seconds = table.T
    ideal = 2 * m * n * k / (device.tflops["fp16"] * 1e12)
    moved = 2 * (m * n + n * k + m * k) / (0.85 * device.memory_gb_per_s * 1e9)
    tiles = np.ceil(m / TILE) * np.ceil(n / TILE)
    rounds = np.ceil(tiles / device.processors)
    idle = rounds * device.processors / (m * n / TILE**2) - 1

    def error(x: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(ideal / x[0] * (1 + x[1] * idle) + 1e-6 * x[2], moved) / seconds)

    found = least_squares(error, [0.7, 0.5, 5.0], bounds=(0, np.inf), loss="soft_l1", f_scale=0.05)
    return found.x, float(np.sqrt(np.mean(error(found.x) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for short, name in DEVICES.items():
        table = products(folder / short)
        (ratio, wave, ramp), rest = fit(table, name)
        print(
            f"{name}: {len(table)} products, gemm_ratio {ratio:.3f}, wave_ratio {wave:.2f}, "
            f"gemm_ramp {ramp:.1f} us, root mean square error {100 * rest:.1f} %"
        )


if __name__ == "__main__":
    main()
