"""Published step times of vendors as designs: MLPerf, DGX Cloud recipes, Megatron-Bridge."""

import re
from collections.abc import Iterator
from pathlib import Path

from forecast_cases import H100, MODELS, Case, fit_chunks, rows
from msgspec.structs import replace

from loadpath.forecast.design import Batch, Cluster, Design, Parallelism, Software, Transformer


def _mlperf_recipe(row: dict[str, str]) -> tuple[int, dict[str, object]]:
    """Give chunks of a stage, and the software.

    INTERLEAVED_PIPELINE, LAYER_CUDA_GRAPH, FP8_REDUCE_AMAX, TP_ONLY_AMAX_RED, FP8_PARAMS and the release of flash-attn
    of the configurations that the submitters published with each round (mlcommons/training_results_v3.0 to v4.1):
    1.0.5 and 2.0.8 in v3.0 and v3.1, later cuDNN. Those of v3.1 and v4.0 set NVTE_DP_AMAX_REDUCE_INTERVAL=0 too
    ("disable DP"), which the Transformer Engine of v3.1 (09ba842) heeds and that of v4.0 (v1.6rc1) knows no more.
    """
    if row["round"] < "v4.0":
        scaling = "delayed" if row["round"] == "v3.0" else "own"
        return 12, {"scaling": scaling, "attention": "portable"}
    if row["pp"] == "6":
        return 8, {"scaling": "delayed", "parameter_bytes": 1, "graphs": True}
    if row["round"] == "v4.0":
        return 4, {"scaling": "delayed", "parameter_bytes": 1}
    if row["submitter"] == "Oracle":
        return 4, {"parameter_bytes": 1}
    return 6, {"parameter_bytes": 1, "graphs": "B200" in row["accelerator"]}


def mlperf(folder: Path) -> Iterator[Case]:
    """GPT-3 of NVIDIA hardware; all its configurations have tensor transfers in pieces, gradients of 16 bit."""
    devices = {"H100": H100, "B200": "B200-SXM"}
    for row in rows(folder, "mlperf_llm_scaling_step_times"):
        device = next((d for key, d in devices.items() if key in row["accelerator"]), None)
        if row["benchmark"] != "gpt3" or not row["step_s"] or not row["pp"] or device is None:
            continue
        pipeline, gpus = int(row["pp"]), int(row["chips"])
        micro = int(row["mbs"])
        chunks, software = _mlperf_recipe(row)
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
            ),
            software=Software(precision="fp8", gradient_bytes=2, **software),
        )
        label = f"{row['round']} {row['submitter']} {gpus} m={row['microbatches']}"
        yield Case("mlperf_llm_scaling_step_times", label, design, float(row["step_s"]))


_DGXC = {
    "llama3.1/README_405b.md": "llama3-405b",
    "llama3.1/README_70b.md": "llama3-70b",
    "llama3.1/README_8b.md": "llama3-8b",
    "llama3/finetuning/README_70b.md": "llama3-70b",
    "nemo_megatron/README_175b.md": "gpt3-175b",
    "nemotron/README_15b.md": "nemotron-15b",
    "nemotron/README_340b.md": "nemotron-340b",
}


def dgxcloud(folder: Path) -> Iterator[Case]:
    """Rows whose configuration text gives tensor and pipeline widths; later tags repeat them."""
    seen = set()
    for row in rows(folder, "dgxcloud_benchmarking_weak_scaling"):
        base = _DGXC.get(row["file"])
        # Rows of 8 GPUs set a rate; those of fine-tuning did not.
        if base is None or row["gpu"] != "H100" or (row["gpus"] == "8" and not _tuned(row)):
            continue
        case = _dgxcloud(row, MODELS[base])
        if case is not None and (case.label, case.step_s) not in seen:
            seen.add((case.label, case.step_s))
            yield case


def _dgxcloud_recipe(row: dict[str, str]) -> tuple[int | None, str]:
    """Give chunks where they are not those of the table, and the kernels of attention.

    virtual_pipeline_model_parallel_size and NVTE_FUSED_ATTN of the recipes (NVIDIA/dgxc-benchmarking, *.yaml and *.sh;
    the table of v25.02 still prints the 12 chunks of v25.01): flash-attn 2 where cuDNN is turned off.
    """
    if row["file"].startswith("nemo_megatron"):
        return (None, "portable") if row["tag"] < "v25.02" else (6, "flash")
    return None, "portable" if row["file"] == "nemotron/README_340b.md" else "flash"


def _tuned(row: dict[str, str]) -> str:
    """Say how a row tunes a model that is trained already; empty where it does not."""
    found = re.search(r"Finetuning (SFT|LORA)", row["config"])
    return found[1].lower() if found else ""


def _dgxcloud(row: dict[str, str], model: Transformer) -> Case | None:
    given = {
        key: int(value)
        for key, value in re.findall(r"(TP|PP|CP|VP|MBS)\s*=\s*(\d+)", row["config"])
    }
    # Rows of shortened models print their own layers, stages and chunks.
    printed = {"PP": row["pp"], "VP": row["vp"].replace("n/a", "1")}
    given |= {key: int(value) for key, value in printed.items() if value}
    run, attention = _dgxcloud_recipe(row)
    given |= {} if run is None else {"VP": run}
    model = replace(model, layers=int(row["layers"] or model.layers))
    gpus, batch = int(row["gpus"]), int(row["gbs"] or row["gbs2"] or 0)
    if "TP" not in given or not batch:
        return None
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
    # The recipes of those tags (NVIDIA/dgxc-benchmarking, *.yaml and *.sh) have grad_sync_dtype bf16 and, at
    # 8 bit, delayed scales (fp8_amax_compute_algo max over 1,024 steps) and fp8_params; GPT-3 has hidden_dropout 0.1.
    model = replace(model, dropout=row["file"].startswith("nemo_megatron"))
    # Fine-tuning in NeMo's recipes: 4,096 tokens, adapters of queries, keys and values alone, which no
    # replicas share out; no tensor transfers in pieces.
    tuned = _tuned(row)
    if tuned:
        model = replace(model, sequence=4096)
    if tuned == "lora":
        model = replace(model, adapter_rank=16, adapted="qkv")
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
            sharding="none" if tuned == "lora" else "optimizer",
            sequence_parallel=given["TP"] > 1,
            tensor_overlap="weight_gradient" if tuned else "pipelined",
            embedding_apart=fitted[1],
        ),
        software=Software(
            precision=precision,
            scaling="delayed" if precision == "fp8" else "own",
            attention=attention,
            gradient_bytes=2,
            parameter_bytes=1 if precision == "fp8" and not tuned else 2,
        ),
    )
    size = row["file"].split("_")[-1].removesuffix(".md")
    what = " ".join(filter(None, (row["file"].split("/")[0], size, tuned, precision)))
    label = f"{row['tag']} {what} {gpus}"
    return Case("dgxcloud_benchmarking_weak_scaling", label, design, step)


_BRIDGE = {
    "LLAMA3_70B": "llama3-70b",
    "LLAMA3.1_405B": "llama3-405b",
    "DeepSeekV3": "deepseek-v3",
    "GPT OSS 120B": "gpt-oss-120b",
    "Qwen3_30B_a3B": "qwen3-30b-a3b",
    "Qwen3_235B_a22B": "qwen3-235b-a22b",
}
_SYSTEMS = {
    "DGX-H100": H100,
    "DGX-B200": "B200-SXM",
    "DGX-B300": "B300-SXM",
    "DGX-GB200": "GB200-NVL72",
    "DGX-GB300": "GB300-NVL72",
}
_PRECISION = {"BF16": "bf16", "FP8": "fp8", "MXFP8": "mxfp8", "NVFP4": "fp4"}


def _expert_recipe(base: str, device: str, precision: str, release: str) -> tuple[bool, bool, bool]:
    """Say whether experts' products are joined, tokens travel under computation, and all is one graph.

    scripts/performance/configs of Megatron-Bridge v0.3.0 (26.02), v0.3.1 (26.02.01), v0.4.0 (26.04, 26.04.01) and
    v0.5.0 (26.06 and later): fused_grouped_mlp, moe_a2a_overlap, cuda_graph_impl "full_iteration".
    """
    joined = {
        "deepseek-v3": ("GB300-NVL72", "GB200-NVL72"),
        "qwen3-235b-a22b": ("GB300-NVL72", "GB200-NVL72"),
        "qwen3-30b-a3b": ("GB300-NVL72", "GB200-NVL72", "B300-SXM"),
        "gpt-oss-120b": ("GB300-NVL72", "GB200-NVL72"),
    }[base]
    if release >= "26.06" and precision == "mxfp8" and device in joined:
        return True, True, True
    overlapped = {
        ("deepseek-v3", "B200-SXM"): ("26.04.01", "26.06"),
        ("qwen3-235b-a22b", H100): ("26.02", "99"),
        ("qwen3-235b-a22b", "B300-SXM"): ("26.02", "26.02"),
        ("qwen3-30b-a3b", H100): ("26.02", "26.02"),
        ("gpt-oss-120b", "GB200-NVL72"): ("26.04", "99"),
    }
    first, last = overlapped.get((base, device), ("99", ""))
    return False, first <= release <= last, False


def _recomputed(base: str, device: str, release: str) -> str:
    """Give recompute_modules of the same files: DeepSeek's up-projections, but for GB300 from v0.5.0 on."""
    again = base == "deepseek-v3" and not (device == "GB300-NVL72" and release >= "26.06")
    return "latent" if again else "none"


def _dispatch(base: str, device: str, width: int) -> str:
    """Give moe_flex_dispatcher_backend of the same files, where experts span nodes: DeepSeek's on B200."""
    by_node = base == "deepseek-v3" and device == "B200-SXM" and width > 8
    return "each_node" if by_node else "each_expert"


_OPEN_ATTENTION = {"gpt-oss-120b": ("unfused",)}
"""Kernels of attention that a row leaves open: learned sinks (softmax_type "learnable") leave the choice between
fused and unfused attention to the versions at hand (attention_backend None), and of one release the table itself
says that attention was slow (NVIDIA/cudnn-frontend issue 256)."""


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
        model = replace(MODELS[base], sequence=sequence)
        fitted = fit_chunks(model, width["PP"], width["VP"])
        micro = int(row["MBS"])
        replicas = gpus // (width["TP"] * width["PP"] * width["CP"])
        if fitted is None or batch % (replicas * micro):
            continue
        joined, overlapped, graphs = True, False, device != H100
        if model.experts is not None:
            release = row["doc"].split()[0]
            joined, overlapped, graphs = _expert_recipe(base, device, precision, release)
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
                expert_overlap=overlapped,
                recompute=_recomputed(base, device, row["doc"]),
            ),
            software=Software(
                precision=precision,
                graphs=graphs,
                expert_kernels="joined" if joined else "apart",
                expert_dispatch=_dispatch(base, device, width["EP"]),
                # grad_reduce_in_fp32 is False in all configurations of these releases.
                gradient_bytes=2,
            ),
        )
        rate = float(row["Tokens / sec / GPU"].split()[0])
        label = f"{row['doc'].split()[0]} {base} {device} {precision} {gpus}"
        others = tuple(
            replace(design, software=replace(design.software, attention=kind))
            for kind in _OPEN_ATTENTION.get(base, ())
        )
        step_s = batch * sequence / (rate * gpus)
        yield Case("megatron_bridge_perf_summary", label, design, step_s, others)


def setting(folder: Path) -> Iterator[Case]:
    """Rows that set a prior: one node, no pipeline; none of them is judged."""
    # The 8-GPU rows of Llama 3.1 8B set the rate of Hopper. Megatron-Bridge 25.11 prints no model, but
    # 51.5 GFLOP for a token are those of Llama 3 8B; they set the rates of Blackwell.
    for row in rows(folder, "dgxcloud_benchmarking_weak_scaling"):
        if row["file"].endswith("README_8b.md") and "24.09" in row["config"] and row["gpus"] == "8":
            case = _dgxcloud(row, MODELS["llama3-8b"])
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
