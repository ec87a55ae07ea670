"""Nodes of execution traces: PyTorch's ``ExecutionTraceObserver`` (schemas 1.0 and 1.1), and Chakra's files.

A tensor is written as ``[tensor, storage, offset, elements, bytes, device]``; lists of tensors nest.
An operator writes the storages of its outputs, unless they are views of what it read, and those of
arguments that its schema marks (``Tensor(a!) self``); communications also write what they are given.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from loadpath.decode import Envelope, array_chunks, file_digest, first_block, read_blocks
from loadpath.errors import InputError
from loadpath.ingest.execution_trace.chakra import (
    ChakraNode,
    chakra_nodes,
    is_chakra,
    jsonized_nodes,
)
from loadpath.tables import EXECUTION, caveat_table

__all__ = ["Executions", "is_execution_trace", "read_execution_traces"]

RANK_IN_NAME = re.compile(
    r"(?:rank[-_]?|_)(\d{1,6})(?=\D*$)|(?:^|\.)(\d{1,6})(?=\.et\b)", re.IGNORECASE
)
"""As PyTorch names its files, or as ASTRA-sim has those of Chakra (``job.3.et``)."""
MOST_TEXT = 1 << 27
BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
COMMUNICATES = ("record_param_comms", "nccl:", "c10d::", "gloo:")
LARGEST = 1 << 62
DEEPEST = 8
TENSOR_FIELDS = 6
Doubt = tuple[str, str, int]


class Executions(NamedTuple):
    """What execution traces of a job hold.

    Attributes
    ----------
    node : polars.DataFrame
        Table `EXECUTION`.
    caveat : polars.DataFrame
        Table `CAVEAT`.
    inputs : tuple of (str, str, int)
        Name, SHA-256 and bytes of every file read.
    """

    node: pl.DataFrame
    caveat: pl.DataFrame
    inputs: tuple[tuple[str, str, int], ...]


class _Values(msgspec.Struct, frozen=True):
    values: list[Any] = []


class _Attribute(msgspec.Struct, frozen=True):
    name: str = ""
    value: Any = None


class _Node(msgspec.Struct, frozen=True):
    """One node of either schema: facts stand beside its name, or among its attributes."""

    name: str
    rf_id: int = -1
    op_schema: str = ""
    inputs: list[Any] | _Values = []
    outputs: list[Any] | _Values = []
    attrs: list[_Attribute] = []


def is_execution_trace(path: Path) -> bool:
    """Tell an execution trace by its first keys.

    Parameters
    ----------
    path : Path
        File, gzipped or not.

    Returns
    -------
    bool
        False too for a file that cannot be read: another reader says why.
    """
    head = first_block(path)
    first = head[:4096]
    is_pytorch = b'"schema"' in first and b'"nodes"' in first and b'"traceEvents"' not in first
    return is_pytorch or is_chakra(head)


def read_execution_traces(paths: Sequence[Path]) -> Executions:
    """Read the execution traces of a job, one file per rank.

    Parameters
    ----------
    paths : sequence of Path
        Files for which `is_execution_trace` holds; the rank is in the name.

    Returns
    -------
    Executions
        All nodes that could be read; what could not is a caveat.
    """
    frames, doubts, inputs = [EXECUTION.empty()], list[Doubt](), []
    seen: set[int] = set()
    for path in sorted(paths):
        found = RANK_IN_NAME.search(path.name)
        rank = int(found[1] or found[2]) if found else -1
        if rank < 0 or rank in seen:
            why = "its name holds no rank" if rank < 0 else f"rank {rank} has another one"
            doubts.append(("execution_trace_unused", f"{path.name}: left out, {why}", 1))
            continue
        seen.add(rank)
        nodes, n_bad, damage = _read(path)
        text = f"{path.name}: nodes that are not what PyTorch or Chakra write, left out"
        doubts.append(("execution_trace_damaged", text, n_bad))
        doubts.append(("execution_trace_damaged", f"{path.name}: {damage}", int(bool(damage))))
        frames.append(_table(rank, nodes))
        text = f"{path.name}: nodes without a number that the profiler shares (rf_id), left out"
        doubts.append(("execution_trace_unnumbered", text, len(nodes) - frames[-1].height))
        inputs.append(file_digest(path))
    return Executions(pl.concat(frames), caveat_table(doubts), tuple(inputs))


def _read(path: Path) -> tuple[Sequence[_Node | ChakraNode], int, str]:
    """Operators of one file, the number of nodes that are none, and what broke off the file."""
    head = next(read_blocks(path), b"")
    return _read_chakra(path, head) if is_chakra(head) else _read_pytorch(path)


def _read_chakra(path: Path, head: bytes) -> tuple[list[ChakraNode], int, str]:
    nodes: list[ChakraNode] = []
    n_bad, damage = 0, ""
    try:
        for node in (
            jsonized_nodes(_whole(path)) if head[:1] == b"{" else chakra_nodes(read_blocks(path))
        ):
            n_bad += node is None
            nodes += [node] if node else []
    except InputError as error:
        damage = error.problems[0]
    except ValueError as error:
        damage = str(error)
    return nodes, n_bad, damage


def _whole(path: Path) -> bytes:
    parts, size = [], 0
    for block in read_blocks(path):
        parts.append(block)
        size += len(block)
        if size > MOST_TEXT:
            raise InputError(path.name, "a text of more than 128 MiB", "Give the .et file itself.")
    return b"".join(parts)


def _read_pytorch(path: Path) -> tuple[list[_Node], int, str]:
    decoder = msgspec.json.Decoder(_Node)
    nodes: list[_Node] = []
    n_bad, damage = 0, ""
    try:
        for part in array_chunks(read_blocks(path), "nodes"):
            if isinstance(part, Envelope):
                damage = damage or part.damage
                continue
            for row in range(part.border.shape[0]):
                try:
                    nodes.append(decoder.decode(part.piece(row)))
                except BAD:
                    n_bad += 1
    except InputError as error:
        damage = error.problems[0]
    return nodes, n_bad, damage


def _table(rank: int, nodes: Sequence[_Node | ChakraNode]) -> pl.DataFrame:
    facts = [_facts(node) for node in nodes]
    kept = [i for i, (number, _) in enumerate(facts) if 0 <= number < LARGEST]
    touched = [_touched(nodes[i], facts[i][1]) for i in kept]
    return EXECUTION.build({
        "rank": pl.Series([rank] * len(kept), dtype=pl.Int32),
        "node": pl.Series([facts[i][0] for i in kept], dtype=pl.Int64),
        "name": pl.Series([nodes[i].name for i in kept], dtype=pl.String),
        "reads": pl.Series([sorted(read) for read, _ in touched], dtype=pl.List(pl.Int64)),
        "writes": pl.Series([sorted(written) for _, written in touched], dtype=pl.List(pl.Int64)),
    }).sort("node", maintain_order=True)  # fmt: skip


def _facts(node: _Node | ChakraNode) -> tuple[int, str]:
    """Read the number that the profiler shares, and the operator's schema."""
    if isinstance(node, ChakraNode):
        return node.rf_id, node.op_schema
    said = {attribute.name: attribute.value for attribute in node.attrs}
    number = said.get("rf_id", node.rf_id)
    schema = said.get("op_schema", node.op_schema)
    return number if isinstance(number, int) else -1, schema if isinstance(schema, str) else ""


def _touched(node: _Node | ChakraNode, schema: str) -> tuple[set[int], set[int]]:
    """Storages that an operator reads, and those that it writes."""
    given = _values(node.inputs)
    read = set(_storages(given))
    made = set(_storages(_values(node.outputs)))
    if node.name.startswith(COMMUNICATES):
        return read, read | made
    written = made - read
    for i in _written(schema):
        written |= set(_storages(given[i : i + 1]))
    return read, written


def _values(side: list[Any] | _Values) -> list[Any]:
    return side.values if isinstance(side, _Values) else side


@functools.cache
def _written(schema: str) -> tuple[int, ...]:
    """Places of the arguments that a schema marks as written."""
    return tuple(i for i, argument in enumerate(_arguments(schema)) if "!" in argument)


def _arguments(schema: str) -> list[str]:
    """List the arguments of a schema; commas within brackets do not part them."""
    begin, end = schema.find("("), schema.rfind("->")
    if begin < 0 or end < begin:
        return []
    parts, depth = [""], 0
    for letter in schema[begin + 1 : end]:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    # the star that parts named arguments is none itself
    return [part for part in parts if part.strip() != "*"]


def _storages(values: list[Any], depth: int = 0) -> Iterator[int]:
    for value in values:
        if not isinstance(value, list):
            continue
        if _is_tensor(value):
            if value[1] > 0:
                yield value[1]
        elif depth < DEEPEST:
            yield from _storages(value, depth + 1)


def _is_tensor(value: list[Any]) -> bool:
    numbers = value[: TENSOR_FIELDS - 1]
    return (
        len(value) == TENSOR_FIELDS
        and isinstance(value[-1], str)
        and all(type(number) is int and 0 <= number < LARGEST for number in numbers)
    )
