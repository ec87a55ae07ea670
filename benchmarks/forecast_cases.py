"""Published step times as designs: what each row of the tables says, and what it leaves open."""

import csv
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from loadpath.forecast.design import (
    Batch,
    Cluster,
    Design,
    Parallelism,
    Software,
    Tier,
    Transformer,
)
from loadpath.forecast.transformer import flop_per_token

A100, H100 = "A100-SXM4-80GB", "H100-SXM5-80GB"


@dataclass(frozen=True)
class Case:
    """One published row; `others` are the designs that its text allows as well."""

    table: str
    label: str
    design: Design
    step_s: float
    others: tuple[Design, ...] = ()


MODELS = {
    name: msgspec.convert(entry, Transformer)
    for name, entry in tomllib.loads(
        Path(__file__).with_name("forecast_models.toml").read_text(encoding="utf-8")
    ).items()
}


def gpt(hidden, layers, heads, *, sequence=2048, vocabulary=51200, dropout=False) -> Transformer:
    return Transformer(
        hidden=hidden,
        layers=layers,
        heads=heads,
        sequence=sequence,
        vocabulary=vocabulary,
        dropout=dropout,
    )


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def fit_chunks(model: Transformer, pipeline: int, chunks: int) -> tuple[int, bool] | None:
    """Say how layers fall on chunks: evenly, or with the ends one short."""
    for apart in (False, True):
        if (model.layers + 2 * apart) % (pipeline * chunks) == 0:
            return chunks, apart
    return None


def selene(folder: Path) -> Iterator[Case]:
    for row in rows(folder, "selene_a100_step_times"):
        full = row["mode"] == "full"
        model = gpt(int(row["hidden"]), int(row["layers"]), int(row["heads"]), dropout=True)
        yield Case(
            "selene_a100_step_times",
            f"{row['model']} {row['mode']}",
            Design(
                name=row["model"],
                model=model,
                cluster=Cluster(device=A100, accelerators=int(row["gpus"])),
                batch=Batch(
                    sequences=int(row["batch_seqs"]), microbatch=int(row["microbatch_seqs"])
                ),
                parallelism=Parallelism(
                    tensor=int(row["tp"]),
                    pipeline=int(row["pp"]),
                    chunks=int(row["interleave"]),
                    recompute="full" if full else "selective",
                    sequence_parallel=not full,
                ),
                software=Software(precision="fp16", attention="unfused"),
            ),
            float(row["step_s"]),
        )


_HEADS_2021 = {
    2304: 24,
    3072: 32,
    4096: 32,
    6144: 48,
    8192: 64,
    10240: 80,
    12288: 96,
    16384: 128,
    20480: 128,
    25600: 160,
}


def megatron_2021(folder: Path) -> Iterator[Case]:
    """Table 1 of arXiv 2104.04473; microbatch 1 is assumed where the paper does not print it."""
    for row in rows(folder, "megatron_a100_weak_scaling_2021"):
        hidden, parallel, gpus = int(row["hidden"]), int(row["model_parallel"]), int(row["gpus"])
        tensor = min(8, parallel)
        model = gpt(hidden, int(row["layers"]), _HEADS_2021[hidden], dropout=True)
        batch = int(row["batch_seqs"])
        s, h, n, v = 2048, hidden, model.layers, 51200
        flop = 96 * batch * s * n * h**2 * (1 + s / (6 * h) + v / (16 * n * h))
        design = Design(
            name=row["model"],
            model=model,
            cluster=Cluster(device=A100, accelerators=gpus),
            batch=Batch(sequences=batch, microbatch=_microbatch(batch, gpus // parallel, parallel)),
            parallelism=Parallelism(
                tensor=tensor,
                pipeline=parallel // tensor,
                recompute="full",
                tensor_overlap="none",
                data_overlap=False,
            ),
            software=Software(precision="fp16", attention="unfused"),
        )
        step = flop / (float(row["tflops_per_gpu"]) * 1e12 * gpus)
        yield Case("megatron_a100_weak_scaling_2021", row["model"], design, step)


def _microbatch(batch: int, replicas: int, parallel: int) -> int:
    """Without a pipeline more sequences fill a pass; with one, a pass of one shortens the bubble."""
    return 1 if parallel > 8 else min(4, batch // replicas)


def megatron_2024(folder: Path) -> Iterator[Case]:
    for row in rows(folder, "megatron_h100_weak_scaling_2024"):
        gpus, batch = int(row["gpus"]), int(row["batch_seqs"])
        model = gpt(
            int(row["hidden"]),
            int(row["layers"]),
            int(row["heads"]),
            sequence=4096,
            vocabulary=131072,
        )
        pipeline = int(row["pp"])
        design = Design(
            name=row["model"],
            model=model,
            cluster=Cluster(device=H100, accelerators=gpus),
            batch=Batch(sequences=batch, microbatch=1 if pipeline > 1 else batch // int(row["dp"])),
            parallelism=Parallelism(
                tensor=int(row["tp"]),
                pipeline=pipeline,
                sharding="optimizer",
                tensor_overlap="pipelined",
                sequence_parallel=int(row["tp"]) > 1,
                embedding_apart=model.layers % pipeline != 0,
            ),
        )
        step = flop_per_token(model) * batch * 4096 / (float(row["tflops_per_gpu"]) * 1e12 * gpus)
        yield Case("megatron_h100_weak_scaling_2024", row["model"], design, step)


_MPT = {
    "70b": (8192, 80, 64),
    "30b": (7168, 48, 56),
    "13b": (5120, 40, 40),
    "7b": (4096, 32, 32),
    "3b": (2560, 32, 20),
    "1b": (2048, 24, 16),
    "760m": (1536, 24, 12),
    "350m": (1024, 24, 16),
    "125m": (768, 12, 12),
}


def mosaicml(folder: Path) -> Iterator[Case]:
    for row in rows(folder, "mosaicml_llmfoundry_mpt_mfu"):
        hidden, layers, heads = _MPT[row["Model"]]
        sequence, gpus, kind = int(row["SeqLen (T)"]), int(row["# GPUs"]), row["GPU"]
        device = {"h100_80gb": H100, "a100_80gb": A100, "a100_40gb": "A100-SXM4-40GB"}[kind]
        model = gpt(hidden, layers, heads, sequence=sequence, vocabulary=50432)
        batch = int(row["GlobalBatchSize"])
        fp8 = row["Precision"] == "amp_fp8"
        tokens = float(row["Throughput (T/s)"])
        network = 50e9 if device == H100 else 25e9
        design = Design(
            name=row["Model"],
            model=model,
            cluster=Cluster(
                device=device,
                accelerators=gpus,
                tiers=(
                    Tier(name="node", size=8, bandwidth=450e9 if device == H100 else 300e9),
                    Tier(name="network", size=max(gpus, 16), bandwidth=network),
                ),
            ),
            batch=Batch(sequences=batch, microbatch=int(row["MicroBatchSize"])),
            parallelism=Parallelism(
                sharding="full" if row["Sharding Strategy"] == "FULL_SHARD" else "gradients",
                recompute="full" if row["Activation Checkpointing"] == "True" else "none",
            ),
            software=Software(
                precision="fp8" if fp8 else "bf16",
                fusion="eager",
                attention="portable",
                gradient_bytes=2 if row["MP Mode"] == "PURE" else 4,
            ),
        )
        label = f"{row['Model']} {sequence} {gpus} {kind} {row['Precision']}"
        yield Case("mosaicml_llmfoundry_mpt_mfu", label, design, batch * sequence / tokens)


def llama3_405b(folder: Path) -> Iterator[Case]:
    """Interleaved with one layer a chunk, the ends one short: arXiv 2407.21783, section 3.3.2."""
    # The same section: gradients are added at 32 bit. It ran in PyTorch before FlashAttention-3 (July 2024).
    model = MODELS["llama3-405b"]
    for row in rows(folder, "llama3_405b_mfu"):
        if row["confirmed"] != "yes":
            continue
        gpus, batch = int(row["gpus"]), int(row["dp"]) * int(row["batch_per_dp"])
        design = Design(
            name="Llama 3 405B",
            model=model,
            cluster=Cluster(device=H100, accelerators=gpus),
            batch=Batch(sequences=batch),
            parallelism=Parallelism(
                tensor=8,
                pipeline=16,
                chunks=8,
                sharding="gradients",
                sequence_parallel=True,
                embedding_apart=True,
            ),
            software=Software(attention="portable", accumulation="apart"),
        )
        tokens_s = float(row["tflops_per_gpu"]) * 1e12 * gpus / flop_per_token(model)
        yield Case("llama3_405b_mfu", f"{gpus} GPUs", design, batch * 8192 / tokens_s)


_TITAN = re.compile(r"FSDP(\d+)(?: CP(\d+))?(?: TP(\d+))?(?: PP(\d+))?$")


def torchtitan(folder: Path) -> Iterator[Case]:
    for row in rows(folder, "torchtitan_llama3_h100_202412"):
        match = _TITAN.match(row["parallelism"])
        if match is None:
            continue
        _, context, tensor, pipeline = (int(x) if x else 1 for x in match.groups())
        size, hopper = row["model"].split("-")[0], row["model"].endswith("H200")
        technique, gpus = row["technique"], int(row["gpus"])
        base = MODELS[f"llama3-{size.lower()}"]
        sequence = int(row["seq"] or 8192)
        model = replace(base, sequence=sequence)
        local = int(row["local_bs"])
        replicas = gpus // (tensor * context * pipeline)
        micro = local if pipeline == 1 else 1
        interleaved = "Interleaved" in technique
        fitted = fit_chunks(model, pipeline, 8 if interleaved else 1)
        if fitted is None:
            continue
        design = Design(
            name=row["model"],
            model=model,
            cluster=Cluster(
                device="H200-SXM5-141GB" if hopper else H100,
                accelerators=gpus,
                power_cap=None if hopper else 500.0,
            ),
            batch=Batch(sequences=local * replicas, microbatch=micro),
            parallelism=Parallelism(
                tensor=tensor,
                pipeline=pipeline,
                context=context,
                chunks=fitted[0],
                sharding="full" if pipeline == 1 else "gradients",
                sequence_parallel=tensor > 1,
                embedding_apart=fitted[1],
                recompute="alternate" if size == "8B" and sequence == 8192 else "full",
                tensor_overlap="pipelined" if "async" in technique else "none",
            ),
            software=Software(
                precision="fp8" if "fp8" in technique else "bf16",
                fusion="eager" if technique == "eager" else "fused",
                attention="portable",
            ),
        )
        step = local * replicas * sequence / (float(row["tps_per_gpu"]) * gpus)
        label = f"{row['model']} {row['parallelism']} {sequence} {technique}"
        yield Case("torchtitan_llama3_h100_202412", label, design, step)
