"""Finished audits that are kept: the same question of the same files is answered at once."""

import hashlib
import io
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loadpath.audit.files import files_behind
from loadpath.audit.folder import document_bytes, write_table
from loadpath.audit.settings import Settings
from loadpath.compiled.store import cache_home
from loadpath.compiled.versions import versions
from loadpath.decode import file_digest, keep, kept
from loadpath.errors import InputError

__all__ = [
    "LEAST_KEPT_BYTES",
    "LEAST_KEPT_OPS",
    "Answer",
    "Question",
    "ask",
    "find_answer",
    "keep_answer",
]

LEAST_KEPT_OPS = 250_000
LEAST_KEPT_BYTES = 4 << 20
"""What has fewer ops and smaller records is audited in about a second."""
MOST_OTHER_BYTES = 64 << 20
RECORDS = (".json", ".json.gz", ".parquet", ".csv", ".sqlite")
"""Names of records that may be large."""
LIBRARIES = ("loadpath", "numpy", "numba", "polars", "msgspec", "isal")
PACKAGE = Path(__file__).parents[1]
TABLE = ".parquet"
DOCUMENT = "audit.json"


@dataclass(frozen=True, slots=True)
class Question:
    """What an audit is asked, as far as its answer depends on it.

    Attributes
    ----------
    shelf : Path
        Where answers are kept.
    key : str
        Digest of the content of all files, of the settings, and of the code and libraries.
    digests : frozenset of str
        SHA-256 of the files that the key stands for.
    is_unchanged : callable
        Tells whether the same files, none changed, lie there as when it was asked.
    """

    shelf: Path
    key: str
    digests: frozenset[str]
    is_unchanged: Callable[[], bool] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished audit.

    Attributes
    ----------
    files : mapping of str to memoryview
        Content of each file by name, as an audit folder holds it.
    returned : tuple of str
        Names of the tables that `run_audit` returned; a folder holds those of the ops too.
    """

    files: Mapping[str, memoryview]
    returned: tuple[str, ...]

    @property
    def document(self) -> dict[str, Any]:
        """Content of ``audit.json``."""
        return msgspec.json.decode(self.files[DOCUMENT], type=dict[str, Any])

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """Tables by name."""
        return {
            name: pl.read_parquet(io.BytesIO(self.files[name + TABLE])) for name in self.returned
        }

    def write(self, folder: Path) -> None:
        """Write its files.

        Parameters
        ----------
        folder : Path
            An empty folder.
        """
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


class _Head(msgspec.Struct, frozen=True):
    """What stands before the files: their sizes in order, and the tables that were returned."""

    files: dict[str, int]
    returned: tuple[str, ...]


def ask(
    sources: Sequence[str | Path], settings: Settings, wanted: Mapping[str, bool]
) -> Question | None:
    """Put into one key all that an audit depends on.

    Parameters
    ----------
    sources : sequence of str or Path
        What is audited.
    settings : Settings
        Options of the audit.
    wanted : mapping of str to bool
        What is made beside the document.

    Returns
    -------
    Question or None
        None where nothing may be kept, or a file cannot be read: the audit itself says why.
    """
    shelf = cache_home() if settings.cache else None
    if shelf is None or settings.noise:
        return None
    try:
        seen = _seen(sources, settings)
        files, placed, states = seen
        with ThreadPoolExecutor(2) as pool:
            digests = list(pool.map(_known, files, states))
    except (InputError, OSError):
        return None
    options = {item.name: str(getattr(settings, item.name)) for item in fields(settings)}
    names = [Path(source).resolve().name for source in sources]
    made_by = (versions(LIBRARIES), _machine(), _code())
    facts = (names, placed, digests, options, dict(wanted), made_by)
    key = hashlib.sha256(ascii(facts).encode()).hexdigest()
    held = frozenset(digest for _, digest, _ in digests)
    return Question(shelf, f"audit-{key}", held, partial(_is_as_seen, seen, sources, settings))


def find_answer(question: Question | None) -> Answer | None:
    """Find the answer to the same question.

    Parameters
    ----------
    question : Question or None
        As `ask` gives it.

    Returns
    -------
    Answer or None
        None where it was not asked before, or what is kept is damaged.
    """
    content = None if question is None else kept(question.shelf, question.key)
    if content is None:
        return None
    n_head = int.from_bytes(content[:8], "little")
    try:
        held = msgspec.msgpack.decode(content[8 : 8 + n_head], type=_Head)
    except msgspec.MsgspecError:
        return None
    files, place = {}, 8 + n_head
    for name, n_byte in held.files.items():
        files[name] = content[place : place + n_byte]
        place += n_byte
    return Answer(files, held.returned)


def keep_answer(
    question: Question | None,
    document: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    folder: Path | None = None,
) -> None:
    """Keep a finished audit of a large job.

    Parameters
    ----------
    question : Question or None
        As `ask` gave it before the audit.
    document : mapping
        Content of ``audit.json``.
    tables : mapping of str to polars.DataFrame
        Its tables.
    folder : Path, optional
        Audit folder as it is written; its files are kept as they are.
    """
    if question is None or not _is_large(document):
        return
    if not document["job"]["ops"]:
        return  # what dumps tell depends on when they were written, too
    read = {one["sha256"] for one in document["inputs"]}
    if not (read <= question.digests and question.is_unchanged()):
        return  # a file was changed, came or went between the question and the answer
    files = dict(_written(folder) if folder else _encoded(document, tables))
    sizes = {name: len(content) for name, content in files.items()}
    head = msgspec.msgpack.encode(_Head(sizes, tuple(tables)))
    keep(question.shelf, question.key, [len(head).to_bytes(8, "little"), head, *files.values()])


Seen = tuple[list[Path], tuple[Any, ...], list[tuple[int, ...]]]


def _seen(sources: Sequence[str | Path], settings: Settings) -> Seen:
    """List files, how they lie, and what the file system knows of each: times of change too."""
    files, placed = files_behind(sources, settings)
    states = [path.stat() for path in files]
    return (
        files,
        placed,
        [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in states],
    )


def _known(path: Path, state: tuple[int, ...]) -> tuple[str, str, int]:
    """Know a file by its content; a large one that no reader opens (a checkpoint) by its time of change."""
    # should a reader open one all the same, its digest is not in the question: nothing is kept
    _, _, n_byte, *changed = state
    if n_byte > MOST_OTHER_BYTES and not path.name.lower().endswith(RECORDS):
        return path.name, f"changed {changed}", n_byte
    return file_digest(path)


def _is_as_seen(seen: Seen, sources: Sequence[str | Path], settings: Settings) -> bool:
    try:
        return _seen(sources, settings) == seen
    except (InputError, OSError):
        return False


def _is_large(document: Mapping[str, Any]) -> bool:
    n_byte: int = sum(one["bytes"] for one in document["inputs"])
    n_op: int = document["job"]["ops"]
    return n_op >= LEAST_KEPT_OPS or n_byte >= LEAST_KEPT_BYTES


def _encoded(
    document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]
) -> Iterator[tuple[str, bytes]]:
    yield DOCUMENT, document_bytes(document)
    for name, table in tables.items():
        stream = io.BytesIO()
        write_table(stream, table)
        yield name + TABLE, stream.getvalue()


def _written(folder: Path) -> Iterator[tuple[str, bytes]]:
    return ((path.name, path.read_bytes()) for path in sorted(folder.iterdir()))


def _machine() -> str:
    """Tell the processor: the last digits of sums may depend on its instructions."""
    return f"{platform.machine()} {platform.system()}"


@cache
def _code() -> str:
    """Digest of names, sizes and times of the package's modules: what they answer may have changed."""
    found = sorted(_modules(str(PACKAGE)))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _modules(folder: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as held:
        for entry in held:
            if entry.is_dir():
                yield from _modules(entry.path)
            elif not entry.name.endswith(".pyc"):
                state = entry.stat()
                yield entry.path, state.st_size, state.st_mtime_ns
