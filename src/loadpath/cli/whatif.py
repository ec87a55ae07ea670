"""The command ``loadpath whatif``."""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from loadpath.cli.process import keep_memory
from loadpath.cli.progress import talk
from loadpath.errors import UsageError
from loadpath.units import format_ratio, format_seconds

__all__ = ["whatif"]


def whatif(
    source: Annotated[
        Path, typer.Argument(help="Audit folder, or records of a job.", readable=False)
    ],
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="BY=KEY:VALUE, such as rank=0:ideal.")
    ] = None,
    layout: Annotated[Path | None, typer.Option(help="Layout of an op table.")] = None,
    format: Annotated[str, typer.Option(help="text, json, or osdi25 (op tables).")] = "text",  # noqa: A002
) -> None:
    """Say what a step would take if some ops took another time.

    Ops are made ideal (as their peers) or scaled by a factor.
    """  # noqa: DOC501  # numpydoc ignore=PR01
    if format not in {"text", "json", "osdi25"}:
        raise UsageError(f"unknown format {format!r}. Use text, json or osdi25.")
    keep_memory([source])
    from loadpath.audit.folder import is_result
    from loadpath.audit.pipeline import couple_sources
    from loadpath.audit.result import open_audit
    from loadpath.audit.settings import Settings
    from loadpath.couple.steps import as_steps, join_steps

    settings = Settings(layout=layout)
    if format == "osdi25" and changes:
        raise UsageError("--format osdi25 reads no --set. Leave one of them out.")
    with talk() as progress:
        if is_result(source):
            audit = open_audit(source)
            steps, settings = as_steps(audit.job), Settings(gate=audit.document["replay"]["gate"])
        else:
            steps = couple_sources([source], settings, progress)
    if format == "osdi25":
        from loadpath.diagnose.published import published_fields
        from loadpath.ingest.op_table import trial_name

        inputs = steps.job.inputs
        recorded = Path(inputs[0][0]) if inputs else source
        name = trial_name(source, layout) if source.is_file() else trial_name(recorded, layout)
        fields = published_fields(steps, steps.job.layout, name)
        typer.echo(msgspec.json.format(msgspec.json.encode(fields), indent=2).decode())
        return
    from loadpath.audit.what_if import answer_what_if

    answer = answer_what_if(join_steps(steps), changes or [], settings)
    if format == "json":
        fields = {name: getattr(answer, name) for name in answer.__dataclass_fields__}
        typer.echo(json.dumps(fields, sort_keys=True, indent=2))
        return
    if answer.doubt:
        typer.echo(f"not assessable    {answer.doubt}")
    typer.echo(f"step as measured  {format_seconds(answer.step_s)}  (replayed, without lag)")
    typer.echo(f"step as asked     {format_seconds(answer.step_s_without)}")
    saved = f"{format_seconds(answer.saved_s)} a step, {format_ratio(answer.saved_ratio)}"
    typer.echo(f"saved             {saved}  ({answer.n_op:,} ops changed)")
