"""What the repository says about itself: links, documented names and tables, no foreign traces."""

import ast
import doctest
import gzip
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from loadpath.audit.graph_file import FIXED
from loadpath.audit.pipeline import couple_sources
from loadpath.audit.refusal import REFUSING_CODES
from loadpath.audit.settings import Settings
from loadpath.audit.store import STORED_OP
from loadpath.audit.what_if import HELP, answer_what_if
from loadpath.couple import CouplingGraph
from loadpath.couple.steps import join_steps
from loadpath.tables import frontier, recorded, results
from loadpath.tables.schema import Column, TableSchema

ROOT = Path(__file__).parents[1]
VERDICT_KINDS = (
    "hang",
    "rank",
    "host",
    "stage",
    "link",
    "data",
    "threads",
    "jitter",
    "absorbed",
    "none",
    "not_assessable",
)
SECTIONS = (
    "## Definition",
    "## Decision rule",
    "## What it looks like",
    "## What proves it",
    "## What to do",
    "## Limits",
)
RECORDED_TABLES = tuple(
    value for name in recorded.__all__ if isinstance(value := getattr(recorded, name), TableSchema)
)
UNIT_BY_SUFFIX = {"ns": "ns", "s": "s", "ratio": "ratio", "bytes": "bytes", "w": "W"}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PLACE = re.compile(r"`((?:src/loadpath|docs|examples|benchmarks|tests)/[\w./-]+)`")
MODULE = re.compile(r"`(loadpath(?:\.[a-z_]+)+)`|from (loadpath(?:\.[a-z_]+)+) import")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FOLDER_OF_A_MACHINE = re.compile(r"(?<![\w.:/])/(work|home|Users|root|tmp)/[\w.]")
FORBIDDEN_MODULES = {"utils", "helpers", "common", "misc"}


# Files that are, or would be, under version control.
def repository_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def documents() -> list[Path]:
    return (
        sorted(ROOT.glob("*.md"))
        + sorted((ROOT / "docs").rglob("*.md"))
        + [ROOT / "examples" / "README.md"]
    )


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Anchors of headings, as code hosts make them.
def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


# Name and text of every text file, compressed traces included.
def texts() -> Iterator[tuple[str, str]]:
    for path in repository_files():
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if b"\0" not in raw[:8192]:
            yield name(path), raw.decode("utf-8", errors="replace")


def unit(column: Column) -> str:
    if column.name == "n" or column.name.startswith("n_"):
        return "count"
    return UNIT_BY_SUFFIX.get(column.name.rpartition("_")[2], "")


def row(column: Column) -> str:
    kind = column.dtype
    one_of = kind.categories.to_list() if isinstance(kind, pl.Enum) else []
    values = f" ({', '.join(f'`{value}`' for value in one_of)})" if one_of else ""
    shown = "Enum" if one_of else kind.__name__ if isinstance(kind, type) else str(kind)
    return f"| `{column.name}` | {shown} | {unit(column)} | {column.doc}{values} |"


# A table's part of docs/formats/audit.md.
def section(schema: TableSchema) -> str:
    rows = "\n".join(row(column) for column in schema.columns)
    head = "| column | type | unit | meaning |\n|---|---|---|---|"
    return f"### `{schema.name}`\n\nOne row: {schema.doc}.\n\n{head}\n{rows}\n"


@pytest.mark.parametrize("document", documents(), ids=name)
def test_links_of_a_document_lead_to_files_and_headings_that_exist(document: Path):
    broken = []
    for target in LINK.findall(CODE_BLOCK.sub("", document.read_text(encoding="utf-8"))):
        place, _, anchor = target.partition("#")
        aim = (document.parent / place).resolve() if place else document
        if re.match(r"https?:|mailto:", target):
            continue
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            broken.append(target)
    assert broken == []


def test_places_of_the_repository_that_a_document_names_exist():
    named = {
        (name(document), place)
        for document in documents()
        for place in PLACE.findall(document.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert sorted((page, place) for page, place in named if not (ROOT / place).exists()) == []


def test_modules_that_a_document_names_can_be_imported():
    named = {
        module
        for document in documents()
        for found in MODULE.findall(document.read_text(encoding="utf-8"))
        for module in filter(None, found)
    }
    assert len(named) > 5
    assert sorted(module for module in named if not can_be_imported(module)) == []


# A module, or what stands in one.
def can_be_imported(dotted: str) -> bool:
    whole, _, last = dotted.rpartition(".")
    if importlib.util.find_spec(whole) is None:
        return False
    return hasattr(importlib.import_module(whole), last) or (
        importlib.util.find_spec(dotted) is not None
    )


def test_architecture_names_every_package_and_only_modules_that_exist():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = page.partition("## Stages")[2].partition("\n\n`lint-imports`")[0]
    staged = {
        stage
        for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for stage in re.findall(r"`(\w+)`", cell)
    }
    source = ROOT / "src" / "loadpath"
    parts = {path.parent.name for path in source.glob("*/__init__.py")}
    parts |= {path.stem for path in source.glob("*.py") if not path.stem.startswith("_")}
    assert staged == parts
    modules = re.findall(r"`(\w+/\w+\.py)`", page)
    assert [module for module in modules if not (source / module).is_file()] == []


def test_every_reader_is_in_the_contract_that_keeps_readers_apart():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (apart,) = (one["modules"] for one in contracts if one["id"] == "formats-stay-out")
    found = (ROOT / "src" / "loadpath" / "ingest").iterdir()
    readers = {path.stem for path in found if not path.stem.startswith("_")}
    assert sorted(apart) == sorted(f"loadpath.ingest.{reader}" for reader in readers)


def test_public_names_are_documented_and_few():
    public = importlib.import_module("loadpath").__all__
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert listed == {public_name for public_name in public if not public_name.startswith("__")}
    assert len(public) <= 40


def test_no_public_function_shares_the_name_of_a_package():
    packages = {path.parent.name for path in (ROOT / "src" / "loadpath").glob("*/__init__.py")}
    assert packages.isdisjoint(set(importlib.import_module("loadpath").__all__) - {"testing"})


@pytest.mark.parametrize("kind", VERDICT_KINDS)
def test_each_verdict_kind_has_a_page_with_all_sections(kind: str):
    page = (ROOT / "docs" / "verdicts" / f"{kind}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# Verdict `{kind}`\n")
    assert [line for line in page.splitlines() if line.startswith("## ")] == list(SECTIONS)


def test_caveats_that_rule_out_a_verdict_are_named():
    page = (ROOT / "docs" / "verdicts" / "not_assessable.md").read_text(encoding="utf-8")
    assert [code for code in REFUSING_CODES if f"`{code}`" not in page] == []


def test_each_page_of_a_verdict_belongs_to_a_kind():
    pages = {path.stem for path in (ROOT / "docs" / "verdicts").glob("*.md")} - {"README"}
    assert pages == set(VERDICT_KINDS)


@pytest.mark.parametrize(
    "schema",
    [*results.RESULT_TABLES, results.HANG, frontier.FRONTIER, frontier.SUSPECT, *RECORDED_TABLES],
    ids=lambda schema: schema.name,
)
def test_each_table_of_an_audit_is_documented_as_declared(schema: TableSchema):
    page = (ROOT / "docs" / "formats" / "audit.md").read_text(encoding="utf-8")
    wanted = section(schema)
    assert wanted in page, f"docs/formats/audit.md should hold:\n\n{wanted}"


def test_coupled_graph_of_an_audit_is_documented():
    page = (ROOT / "docs" / "formats" / "audit.md").read_text(encoding="utf-8")
    part = page.partition("## Coupled graph")[2]
    named = {name for row in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
             for name in re.findall(r"`(\w+)`", row)}  # fmt: skip
    own = {column.name for column in STORED_OP.columns} - set(recorded.OP.schema)
    assert named == own | set(CouplingGraph.__dataclass_fields__) | {FIXED}


def test_examples_of_what_ifs_are_answered_for_every_selector():
    page = (ROOT / "docs" / "formats" / "whatif.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\w+=[^`]+)` \|$", page, re.MULTILINE)
    assert [by for by, _ in rows] == [example.partition("=")[0] for _, example in rows]
    named = re.search(r"BY is (.*) or (\w+), VALUE", HELP)
    assert named is not None
    assert sorted(by for by, _ in rows) == sorted([*named[1].split(", "), named[2]])
    steps = couple_sources([ROOT / "examples" / "pp-rank"], Settings(cache=False), lambda _: None)
    job = join_steps(steps)
    assert all(answer_what_if(job, [example]).n_op for _, example in rows)


def caveat_codes() -> Iterator[tuple[str, str]]:
    """Format and code of each (code, text, count) that reading or coupling may add."""
    for part in ("ingest", "couple"):
        for path in sorted((ROOT / "src" / "loadpath" / part).rglob("*.py")):
            folders = {
                **dict.fromkeys(("kineto", "trace"), "kineto"),
                **dict.fromkeys(("goal", "simulated"), "goal"),
                **dict.fromkeys(("otf2", "mpi"), "otf2"),
                **dict.fromkeys(("nccl_inspector", "logged"), "nccl_inspector"),
                "nsys": "nsys",
                "execution_trace": "execution_trace",
                **dict.fromkeys(("compressed", "condensed"), "compressed"),
                **dict.fromkeys(("stage_log", "stages"), "stage_log"),
            }
            parts = path.relative_to(ROOT).parts
            in_folder = next((folders[part] for part in parts if part in folders), "op_table")
            page = "flight_recorder" if "flight_recorder" in parts else in_folder
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Tuple) and len(node.elts) == 3:
                    code, _, count = (getattr(part, "value", None) for part in node.elts)
                    if isinstance(code, str) and not isinstance(count, str):
                        yield page, code


def test_caveat_codes_of_all_formats_are_found():
    assert {page for page, _ in caveat_codes()} == {
        "compressed",
        "execution_trace",
        "flight_recorder",
        "goal",
        "kineto",
        "nccl_inspector",
        "nsys",
        "op_table",
        "otf2",
        "stage_log",
    }
    assert ("op_table", "lone_transfer") in set(caveat_codes())


@pytest.mark.parametrize(("page", "code"), sorted(set(caveat_codes())))
def test_each_caveat_of_a_format_is_on_its_page(page: str, code: str):
    assert f"`{code}`" in (ROOT / "docs" / "formats" / f"{page}.md").read_text(encoding="utf-8")


def test_columns_that_hold_times_or_counts_name_their_unit():
    wrong = [
        f"{schema.name}.{column.name}"
        for schema in (*results.RESULT_TABLES, *RECORDED_TABLES)
        for column in schema.columns
        if column.name.endswith(("_ms", "_us", "_seconds", "_percent", "_count"))
    ]
    assert wrong == []


def test_each_term_of_the_glossary_is_defined_once():
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = [
        term.strip()
        for cell in re.findall(r"^\| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
        if cell not in {"term", "---"}
        for term in cell.split(",")
    ]
    assert sorted(term for term in set(terms) if terms.count(term) > 1) == []
    assert len(terms) > 60


def test_changelog_names_the_version_or_what_is_not_released():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{version}]" in changes or "## [Unreleased]" in changes


def test_no_file_names_a_folder_of_one_machine():
    found = [
        f"{file}: {match.group()}"
        for file, text in texts()
        for match in FOLDER_OF_A_MACHINE.finditer(text)
    ]
    assert found == []


def test_no_module_is_a_drawer_for_odds_and_ends():
    modules = {path.stem for path in (ROOT / "src").rglob("*.py")}
    assert modules.isdisjoint(FORBIDDEN_MODULES)


def is_doubtful(node: ast.AST, *, in_cli: bool) -> bool:
    if isinstance(node, ast.ExceptHandler):
        return node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "print" and not in_cli
    return isinstance(node, ast.Assert)


def test_source_neither_asserts_nor_prints_nor_swallows_errors():
    found = [
        f"{name(path)}: {ast.unparse(node)[:60]}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if is_doubtful(node, in_cli="cli" in path.parts)
    ]
    assert found == []


def test_documents_named_in_the_source_exist():
    named = {
        match
        for path in (ROOT / "src").rglob("*.py")
        for match in re.findall(r"docs/[\w/.]+\.md", path.read_text(encoding="utf-8"))
    }
    assert sorted(document for document in named if not (ROOT / document).is_file()) == []


RECORDED = sorted({trace.parent.name for trace in (ROOT / "examples").glob("*/rank*")})


@pytest.mark.parametrize("folder", RECORDED)
def test_recorded_examples_are_complete_small_and_described(folder: str):
    files = sorted((ROOT / "examples" / folder).iterdir())
    traces = [file.name for file in files if not file.name.startswith("fr_")]
    assert traces == [f"rank{rank}.json.gz" for rank in range(4)]
    assert {file.name for file in files} - set(traces) <= {f"fr_{trace}" for trace in traces}
    assert sum(file.stat().st_size for file in files) < 400_000
    assert f"`{folder}`" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


def test_the_package_imports_nothing_beyond_its_declared_dependencies():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheels = {re.split(r"[^\w-]", name)[0].replace("-", "_") for name in declared["dependencies"]}
    known = wheels | set(sys.stdlib_module_names) | {"loadpath", "vl_convert"}
    imported = {
        name.split(".")[0]
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - known == set()


@pytest.mark.parametrize(
    "document", [d for d in documents() if ">>>" in d.read_text(encoding="utf-8")], ids=name
)
def test_worked_examples_of_a_page_are_true(document: Path):
    failed, tried = doctest.testfile(str(document), module_relative=False)
    assert tried > 0
    assert failed == 0


def test_every_page_on_forecasts_and_limits_has_a_worked_example():
    pages = [*(ROOT / "docs" / "forecast").glob("*.md"), *(ROOT / "docs" / "limits").glob("*.md")]
    without = [name(page) for page in pages if ">>>" not in page.read_text(encoding="utf-8")]
    assert without == ["docs/forecast/README.md"]
