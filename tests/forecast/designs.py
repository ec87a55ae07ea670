"""Small designs that tests change."""

from msgspec.structs import replace

from loadpath.forecast.design import Batch, Cluster, Design, Parallelism, Transformer

GPT3 = Transformer(layers=96, hidden=12288, heads=96, sequence=2048, vocabulary=51200)
SMALL = Transformer(layers=8, hidden=1024, heads=16, sequence=1024, vocabulary=50304)


def design(accelerators=8, sequences=64, *, model=SMALL, device="A100-SXM4-80GB", **more):
    """Make a design; `more` are its tables, or fields of `parallelism`."""
    fields = Parallelism.__struct_fields__
    parallelism = {key: more.pop(key) for key in list(more) if key in fields}
    return Design(
        name="test",
        model=model,
        cluster=more.pop("cluster", Cluster(device=device, accelerators=accelerators)),
        batch=more.pop("batch", Batch(sequences=sequences)),
        parallelism=Parallelism(**parallelism),
        **more,
    )


def without_overheads(job):
    """Leave only what scales: no fixed latencies, no spread of devices."""
    zero = dict.fromkeys(
        ("launch", "step_overhead", "collective_latency", "link_latency", "network_latency",
         "device_spread", "contention_ratio", "gemm_ramp"),
        0.0,
    )  # fmt: skip
    return replace(job, priors=job.priors | zero)
