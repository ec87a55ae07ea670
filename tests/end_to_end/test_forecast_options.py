"""Every option of `forecast` and `compare` on every kind of source: it changes the answer, or is refused in one line."""

import json

import pytest
from tests.end_to_end.commands import call
from tests.end_to_end.test_forecast_command import EXAMPLES, SMALL
from tests.end_to_end.test_forecast_sources import LOG, REQUESTS, RUNS

from loadpath.audit.forecast_settings import Options
from loadpath.testing import make_job, write_kineto, write_op_table

KINDS = {
    "design": ("small.toml", "16,32", "16,64"),
    "served": ("serving.toml", "8,16", "8,32"),
    "stencil": ("stencil.toml", "512,1024", "512,2048"),
    "op table": ("job.parquet", "4,8", "4,16"),
    "audit": ("job-audit", "4,8", "4,16"),
    "traces": ("made/traces", "4,8", "4,16"),
    "audited traces": ("traces-audit", "4,8", "4,16"),
    "runs": (None, "8,16", "8,64"),
}
"""Source, sizes that are asked, and others."""
WORDS = {
    "sizes": ((), ("--sizes", "OTHER")),
    "calibrate": ((), ("--calibrate", "one.csv")),
    "points": ((), ("--points", "one.csv")),
    "goal": (("--goal", "strong"), ("--goal", "weak")),
    "seed": ((), ("--seed", "1")),
    "worlds": ((), ("--worlds", "17")),
    "value": ((), ("--value", "1e-3")),
    "budget": ((), ("--budget", "123")),
    "as_of": ((), ("--as-of", "2026-01-01T00:00:00Z")),
    "rate": ((), ("--rate", "2")),
    "currency": (("--rate", "2"), ("--currency", "EUR")),
    "layout": ((), ("--layout", "layout.yaml")),
    "tensor": ((), ("--tensor", "4")),
    "pipeline": ((), ("--pipeline", "4")),
    "data_parallel": ((), ("--data-parallel",)),
    "samples": (("--goal", "strong"), ("--samples", "2")),
    "collectives": ((), ("--collectives", "nccl.log")),
    "search": ((), ("--search",)),
    "objective": (("--search",), ("--objective", "job_s")),
    "within": (("--search",), ("--within", "accelerators=16")),
    "requests": ((), ("--requests", "requests.csv")),
    "iterations": (("--requests", "requests.csv"), ("--iterations", "iterations.csv")),
    "ttft": (("--requests", "requests.csv"), ("--ttft", "0.5")),
    "tpot": (("--requests", "requests.csv"), ("--tpot", "0.05")),
}
"""What each option is compared with, and the option."""
ITERATIONS = (
    "tokens,cached_tokens,prompt_pairs,step_s\n1,0,0,0.05\n64,64000,0,0.06\n512,0,131328,0.1\n"
)
ECHOES = {"command", "inputs", "versions", "goal", "seed", "n_worlds"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("options")
    one = "n,step_s\n16,0.35\n32,0.19\n"
    for name, text in (
        ("small.toml", SMALL), ("one.csv", one), ("runs.csv", RUNS), ("requests.csv", REQUESTS),
        ("nccl.log", LOG), ("iterations.csv", ITERATIONS),
        ("layout.yaml", "dp_size: 2\npp_size: 2\ntp_size: 2\nworld_size: 8\n"),
    ):  # fmt: skip
        (made / name).write_text(text, encoding="utf-8")
    for path in EXAMPLES:
        (made / path.name).write_bytes(path.read_bytes())
    job = make_job(1, pp=2, dp=2, steps=4, microbatches=4, noise=0.05)
    write_op_table(job, made / "job.parquet")
    grid = make_job(
        1, recorder="kineto", pp=1, dp=2, tp=2, steps=4, microbatches=2, skewed_ratio=0.0
    )
    write_kineto(grid, made / "made")
    for name in ("job", "traces"):
        record = "job.parquet" if name == "job" else "made/traces"
        assert call("audit", record, "--out", f"{name}-audit", folder=made).code == 0
    return made


EVERYWHERE = {"sizes", "points", "goal", "seed", "worlds", "value", "budget", "as_of"}
ALIKE = EVERYWHERE - {"points", "goal"}
"""What one kind of design is tried with for all."""
OF_RECORDS = EVERYWHERE | {"rate", "currency", "tensor"}
OF_REQUESTS = {"requests", "iterations", "ttft", "tpot"}
HONOURED = {
    "design": EVERYWHERE
    | {"calibrate", "collectives", "tensor", "pipeline", "search", "objective", "within"},
    "served": EVERYWHERE | {"calibrate", "collectives", "tensor"} | OF_REQUESTS,
    "stencil": EVERYWHERE | {"collectives"},
    "op table": OF_RECORDS | {"pipeline", "layout"},
    "audit": OF_RECORDS | {"pipeline"},
    "traces": OF_RECORDS | {"samples"},
    "audited traces": OF_RECORDS | {"samples"},
    "runs": (EVERYWHERE | {"rate", "currency"}) - {"goal"},
}
"""What each kind has an answer to: the traces have no stages and name their replicas, the runs tell no batch."""


def asked(kind, words, folder):
    source, sizes, other = KINDS[kind]
    start = ("--points", "runs.csv") if source is None else (source,)
    told = [other if word == "OTHER" else word for word in words]
    return call(
        "forecast", *start, "--json", "--worlds", "16", "--sizes", sizes, *told, folder=folder
    )


def test_every_option_is_tried():
    assert set(WORDS) == set(Options.__annotations__)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_option_changes_the_answer_or_is_refused_in_one_line(kind, folder):
    plain, alike = {}, ALIKE if kind in {"served", "stencil"} else set()
    for option, (needs, words) in WORDS.items():
        if option in alike:
            continue
        answer = asked(kind, (*needs, *words), folder)
        assert (answer.code == 0) == (option in HONOURED[kind]), (option, answer.err)
        if answer.code:
            assert answer.code == 2, option
            assert len(answer.err.splitlines()) == 1, option
            continue
        if needs not in plain:
            plain[needs] = json.loads(asked(kind, needs, folder).out)
        found = json.loads(answer.out)
        changed = {key for key in found if found[key] != plain[needs].get(key)}
        assert changed - ECHOES, option


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("small.toml", "dense.toml", "--layout", "layout.yaml"), "--layout: none of the candidates"),
        (("small.toml", "job-audit", "--layout", "layout.yaml"), "--layout: none of the candidates"),
        (("small.toml", "made/traces", "--layout", "layout.yaml"), "is no op table"),
        (("small.toml", "job-audit", "--data-parallel"), "--data-parallel: none of the candidates"),
        (("job-audit", "traces-audit", "--pilot", "2"), "--pilot: none of the candidates is a design"),
        (("job-audit", "small.toml", "--currency", "EUR"), "--currency is that of a rate"),
        (("small.toml", "dense.toml", "--rate", "2"), "1 of --rate for 0"),
    ],
)  # fmt: skip
def test_comparison_refuses_what_none_of_its_candidates_answers(words, said, folder):
    answer = call("compare", *words, "--worlds", "16", folder=folder)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert said in answer.err


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ((), ("--seed", "1")),
        ((), ("--worlds", "17")),
        ((), ("--pilot", "8")),
        ((), ("--rate", "2")),
        (("--rate", "2"), ("--currency", "EUR")),
        ((), ("--layout", "layout.yaml")),
    ],
)
def test_option_of_a_comparison_changes_it(needs, words, folder):
    other = "job-audit" if "--currency" in words else "small.toml"

    def told(*more):
        sources = ("job.parquet", other)
        answer = call("compare", *sources, "--json", "--worlds", "16", *more, folder=folder)
        assert answer.code == 0, answer.err
        return {k: v for k, v in json.loads(answer.out).items() if k not in ECHOES}

    assert told(*needs, *words) != told(*needs)
