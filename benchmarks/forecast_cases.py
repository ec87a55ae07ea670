"""Published step times as designs: what each row of the tables says, and what it leaves open."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadpath.forecast.design import (
    Batch,
    Cluster,
    Design,
    Experts,
    Parallelism,
    Software,
    Tier,
    Transformer,
)
from loadpath.forecast.transformer import flop_per_token

A100, H100 = "A100-SXM4-80GB", "H100-SXM5-80GB"


@dataclass(frozen=True)
class Case:
    """One published row."""

    table: str
    label: str
    design: Design
    step_s: float


def gpt(
    hidden: int, layers: int, heads: int, sequence: int = 2048, vocabulary: int = 51200, **more
) -> Transformer:
    return Transformer(
        hidden=hidden, layers=layers, heads=heads, sequence=sequence, vocabulary=vocabulary, **more
    )


def llama(
    hidden, layers, heads, kv_heads, feed_forward, sequence=8192, vocabulary=128256
) -> Transformer:
    return gpt(
        hidden, layers, heads, sequence, vocabulary, kv_heads=kv_heads, feed_forward=feed_forward,
        gated=True, rotary=True, tied_embeddings=False,
    )  # fmt: skip


MODELS = {
    "gpt3-175b": gpt(12288, 96, 96),
    "llama2-70b": llama(8192, 80, 64, 8, 28672, 4096, 32000),
    "llama3-8b": llama(4096, 32, 32, 8, 14336),
    "llama3-70b": llama(8192, 80, 64, 8, 28672),
    "llama3-405b": llama(16384, 126, 128, 8, 53248),
    "nemotron-15b": gpt(6144, 32, 48, 4096, 256000, kv_heads=8, rotary=True, tied_embeddings=False),
    "nemotron-340b": gpt(
        18432, 96, 96, 4096, 256000, kv_heads=8, feed_forward=73728, rotary=True,
        tied_embeddings=False,
    ),  # fmt: skip
    "deepseek-v3": gpt(
        7168, 62, 128, 4096, 129280, head_width=128, latent_width=576, query_latent_width=1536,
        feed_forward=18432, gated=True, rotary=True, tied_embeddings=False,
        experts=Experts(
            count=256, chosen=8, feed_forward=2048, shared_feed_forward=2048, dense_layers=3
        ),
    ),
    "gpt-oss-120b": gpt(
        2880, 36, 64, 4096, 201088, kv_heads=8, head_width=64, gated=True, rotary=True, window=128,
        tied_embeddings=False, experts=Experts(count=128, chosen=4, feed_forward=2880),
    ),  # fmt: skip
    "qwen3-30b-a3b": gpt(
        2048, 48, 32, 4096, 151936, kv_heads=4, head_width=128, gated=True, rotary=True,
        tied_embeddings=False, experts=Experts(count=128, chosen=8, feed_forward=768),
    ),  # fmt: skip
    "qwen3-235b-a22b": gpt(
        4096, 94, 64, 4096, 151936, kv_heads=4, head_width=128, gated=True, rotary=True,
        tied_embeddings=False, experts=Experts(count=128, chosen=8, feed_forward=1536),
    ),  # fmt: skip
    "kimi-k2": gpt(
        7168, 61, 64, 4096, 163840, head_width=128, latent_width=576, query_latent_width=1536,
        feed_forward=18432, gated=True, rotary=True, tied_embeddings=False,
        experts=Experts(
            count=384, chosen=8, feed_forward=2048, shared_feed_forward=2048, dense_layers=1
        ),
    ),
}  # fmt: skip


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
        model = gpt(int(row["hidden"]), int(row["layers"]), int(row["heads"]), 4096, 131072)
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
    "70b": (8192, 80, 64), "30b": (7168, 48, 56), "13b": (5120, 40, 40), "7b": (4096, 32, 32),
    "3b": (2560, 32, 20), "1b": (2048, 24, 16), "760m": (1536, 24, 12), "350m": (1024, 24, 16),
    "125m": (768, 12, 12),
}  # fmt: skip


def mosaicml(folder: Path) -> Iterator[Case]:
    for row in rows(folder, "mosaicml_llmfoundry_mpt_mfu"):
        hidden, layers, heads = _MPT[row["Model"]]
        sequence, gpus, kind = int(row["SeqLen (T)"]), int(row["# GPUs"]), row["GPU"]
        device = {"h100_80gb": H100, "a100_80gb": A100, "a100_40gb": "A100-SXM4-40GB"}[kind]
        model = gpt(hidden, layers, heads, sequence, 50432)
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
            ),  # fmt: skip
        )
        tokens_s = float(row["tflops_per_gpu"]) * 1e12 * gpus / flop_per_token(model)
        yield Case("llama3_405b_mfu", f"{gpus} GPUs", design, batch * 8192 / tokens_s)


def mlperf(folder: Path) -> Iterator[Case]:
    """GPT-3 of NVIDIA hardware: 12 chunks a stage by default, tensor transfers in pieces (config of v3.1)."""
    devices = {"H100": H100, "B200": "B200-SXM"}
    for row in rows(folder, "mlperf_llm_scaling_step_times"):
        device = next((d for key, d in devices.items() if key in row["accelerator"]), None)
        if row["benchmark"] != "gpt3" or not row["step_s"] or not row["pp"] or device is None:
            continue
        pipeline, gpus = int(row["pp"]), int(row["chips"])
        micro = int(row["mbs"])
        chunks = 12 if pipeline == 8 else 16
        design = Design(
            name="GPT-3 175B",
            model=MODELS["gpt3-175b"],
            cluster=Cluster(device=device, accelerators=gpus),
            batch=Batch(sequences=int(row["global_batch_seqs"]), microbatch=micro),
            parallelism=Parallelism(
                tensor=int(row["tp"]),
                pipeline=pipeline,
                chunks=chunks,
                sharding="optimizer",
                sequence_parallel=True,
                tensor_overlap="pipelined",
            ),  # fmt: skip
            software=Software(precision="fp8", graphs=row["round"] >= "v4.0"),
        )
        label = f"{row['round']} {row['submitter']} {gpus} m={row['microbatches']}"
        yield Case("mlperf_llm_scaling_step_times", label, design, float(row["step_s"]))


_DGXC = {
    "llama3.1/README_405b.md": "llama3-405b",
    "llama3.1/README_70b.md": "llama3-70b",
    "llama3.1/README_8b.md": "llama3-8b",
    "nemo_megatron/README_175b.md": "gpt3-175b",
    "nemotron/README_15b.md": "nemotron-15b",
    "nemotron/README_340b.md": "nemotron-340b",
}


def dgxcloud(folder: Path) -> Iterator[Case]:
    """Rows whose configuration text gives tensor and pipeline widths; later tags repeat them."""
    seen = set()
    for row in rows(folder, "dgxcloud_benchmarking_weak_scaling"):
        text, base = row["config"], _DGXC.get(row["file"])
        given = {
            key: int(value) for key, value in re.findall(r"(TP|PP|CP|VP|MBS)\s*=\s*(\d+)", text)
        }
        if base is None or "TP" not in given or row["gpu"] != "H100" or not row["gbs"]:
            continue
        if "405b" in row["file"] and row["layers"] != "126" and row["gbs2"] != "126":
            continue
        case = _dgxcloud(row, MODELS[base], given)
        if row["gpus"] == "8":
            continue
        if case is not None and (case.label, case.step_s) not in seen:
            seen.add((case.label, case.step_s))
            yield case


def _dgxcloud(row: dict[str, str], model: Transformer, given: dict[str, int]) -> Case | None:
    gpus, batch = int(row["gpus"]), int(row["gbs"])
    pipeline, context = given.get("PP", 1), given.get("CP", 1)
    fitted = fit_chunks(model, pipeline, given.get("VP", 1))
    replicas = gpus // (given["TP"] * pipeline * context)
    if fitted is None or replicas == 0 or batch % (replicas * given.get("MBS", 1)):
        return None
    try:
        step = float(row["step_s"])
    except ValueError:
        return None
    precision = "fp8" if "FP8" in row["config"] else "bf16"
    design = Design(
        name=row["config"],
        model=model,
        cluster=Cluster(device=H100, accelerators=gpus),
        batch=Batch(sequences=batch, microbatch=given.get("MBS", 1)),
        parallelism=Parallelism(
            tensor=given["TP"],
            pipeline=pipeline,
            context=context,
            chunks=fitted[0],
            sharding="optimizer",
            sequence_parallel=given["TP"] > 1,
            tensor_overlap="pipelined",
            embedding_apart=fitted[1],
        ),  # fmt: skip
        software=Software(precision=precision),
    )
    label = f"{row['tag']} {row['file'].split('/')[0]} {row['file'][-8:-3]} {precision} {gpus}"
    return Case("dgxcloud_benchmarking_weak_scaling", label, design, step)


_TITAN = re.compile(r"FSDP(\d+)(?: CP(\d+))?(?: TP(\d+))?(?: PP(\d+))?$")


def torchtitan(folder: Path) -> Iterator[Case]:
    for row in rows(folder, "torchtitan_llama3_h100_202412"):
        match = _TITAN.match(row["parallelism"])
        if match is None:
            continue
        shard, context, tensor, pipeline = (int(x) if x else 1 for x in match.groups())
        size, hopper = row["model"].split("-")[0], row["model"].endswith("H200")
        technique, gpus = row["technique"], int(row["gpus"])
        base = MODELS[f"llama3-{size.lower()}"]
        sequence = int(row["seq"] or 8192)
        model = llama(base.hidden, base.layers, base.heads, 8, base.feed_forward or 0, sequence)
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
            ),  # fmt: skip
            software=Software(
                precision="fp8" if "fp8" in technique else "bf16",
                fusion="eager" if technique == "eager" else "fused",
                attention="portable",
            ),
        )
        step = local * replicas * sequence / (float(row["tps_per_gpu"]) * gpus)
        label = f"{row['model']} {row['parallelism']} {sequence} {technique}"
        yield Case("torchtitan_llama3_h100_202412", label, design, step)


_BRIDGE = {
    "LLAMA3_70B": "llama3-70b", "LLAMA3.1_405B": "llama3-405b", "DeepSeekV3": "deepseek-v3",
    "GPT OSS 120B": "gpt-oss-120b", "Qwen3_30B_a3B": "qwen3-30b-a3b",
    "Qwen3_235B_a22B": "qwen3-235b-a22b", "Kimi_K2": "kimi-k2",
}  # fmt: skip
_SYSTEMS = {
    "DGX-H100": H100, "DGX-B200": "B200-SXM", "DGX-B300": "B300-SXM",
    "DGX-GB200": "GB200-NVL72", "DGX-GB300": "GB300-NVL72",
}  # fmt: skip
_PRECISION = {"BF16": "bf16", "FP8": "fp8", "MXFP8": "mxfp8", "NVFP4": "fp4"}


def megatron_bridge(folder: Path) -> Iterator[Case]:
    """Rows that name a transformer of public dimensions; hybrids are left out."""
    for row in rows(folder, "megatron_bridge_perf_summary"):
        base = _BRIDGE.get(row["section"].removeprefix("Model: "))
        device, precision = _SYSTEMS.get(row["System"]), _PRECISION.get(row["Precision"])
        if base is None or device is None or precision is None:
            continue
        width = {
            key: int(row[key]) if row[key].isdigit() else 1
            for key in ("TP", "PP", "CP", "VP", "EP")
        }
        sequence, gpus, batch = int(row["Sequence Length"]), int(row["#-GPUs"]), int(row["GBS"])
        if gpus == 8 and base == "llama3-70b":
            continue
        dims = MODELS[base]
        model = type(dims)(
            **{f: getattr(dims, f) for f in dims.__struct_fields__} | {"sequence": sequence}
        )
        fitted = fit_chunks(model, width["PP"], width["VP"])
        micro = int(row["MBS"])
        replicas = gpus // (width["TP"] * width["PP"] * width["CP"])
        if fitted is None or batch % (replicas * micro):
            continue
        alone = width["PP"] == 1 and width["TP"] == 1 and base == "llama3-70b"
        design = Design(
            name=base,
            model=model,
            cluster=Cluster(device=device, accelerators=gpus),
            batch=Batch(sequences=batch, microbatch=micro),
            parallelism=Parallelism(
                tensor=width["TP"],
                pipeline=width["PP"],
                context=width["CP"],
                expert=width["EP"],
                chunks=fitted[0],
                sharding="full" if alone else "optimizer",
                sequence_parallel=width["TP"] > 1,
                tensor_overlap="pipelined",
                embedding_apart=fitted[1],
            ),  # fmt: skip
            software=Software(precision=precision, graphs=device != H100),
        )
        rate = float(row["Tokens / sec / GPU"].split()[0])
        label = f"{row['doc'].split()[0]} {base} {device} {precision} {gpus}"
        yield Case("megatron_bridge_perf_summary", label, design, batch * sequence / (rate * gpus))


def setting(folder: Path) -> Iterator[Case]:
    """Rows that set a prior: one node, no pipeline; none of them is judged.

    The 8-GPU Llama 3.1 8B row in BF16 sets the 16-bit rate of Hopper; those of Megatron-Bridge 25.11
    (whose table does not print the model; 51.5 GFLOP a token is Llama 3 8B) the 8-bit rates.
    """
    for row in rows(folder, "dgxcloud_benchmarking_weak_scaling"):
        if row["file"].endswith("README_8b.md") and "24.09" in row["config"] and row["gpus"] == "8":
            case = _dgxcloud(row, MODELS["llama3-8b"], {"TP": 1, "PP": 1, "CP": 2, "MBS": 1})
            if case is not None and row["tag"] == "v24.11.1":
                yield case
    for row in rows(folder, "megatron_bridge_perf_summary"):
        if row["doc"] != "25.11 NeMo Container" or row["#-GPUs"] != "8" or row["GBS"] != "128":
            continue
        device = _SYSTEMS[row["System"] or row["section"].removeprefix("System: ")]
        design = Design(
            name="Llama 3 8B",
            model=MODELS["llama3-8b"],
            cluster=Cluster(device=device, accelerators=8),
            batch=Batch(sequences=128, microbatch=int(row["MBS"])),
            parallelism=Parallelism(sharding="optimizer"),
            software=Software(precision="fp8", graphs=device != H100),
        )
        rate = float(row["Tokens / sec / GPU"].split()[0])
        yield Case("setting", f"25.11 Llama 3 8B {device} fp8", design, 128 * 8192 / (rate * 8))


UNCALIBRATED = (
    setting, selene, megatron_2021, megatron_2024, mosaicml, llama3_405b, dgxcloud, torchtitan,
    megatron_bridge, mlperf,
)  # fmt: skip
