"""What a newcomer sees: help that fits a terminal, and figures in the documents that a command still prints."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.end_to_end.commands import call

from loadpath.cli import COMMANDS

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = ("README.md", "docs/tutorial.md", "docs/formats/simulate.md", "docs/formats/whatif.md")
SCHEDULE = re.compile(r"^```goal\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_help_names_every_command_in_one_whole_line(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = call("--help", folder=tmp_path).out
    listed = told.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == sorted(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_fits_a_terminal_and_explains_every_option(
    command, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    told = call(command, "--help", folder=tmp_path).out
    assert max(map(len, told.splitlines())) <= 80
    options = told.partition("Options:\n")[2]
    heads = re.findall(r"^  (--.*?)(?:  +(.*))?$", options, re.MULTILINE)
    assert heads
    assert all(words for _, words in heads)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_told_in_the_documents(command, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = call(command, "--help", folder=tmp_path).out
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    options = set(re.findall(r"^  (--[\w-]+)", told, re.MULTILINE)) - {"--help"}
    assert {name for name in options if not re.search(rf"{name}\b", text)} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_documents_call_a_command_with_options_that_it_has(command, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    pages = [ROOT / "README.md", ROOT / "examples" / "README.md", *(ROOT / "docs").rglob("*.md")]
    calls = re.findall(
        rf"loadpath {command}\b([^`|\n]*)", "\n".join(p.read_text(encoding="utf-8") for p in pages)
    )
    used = {option for words in calls for option in re.findall(r"(?<!\S)\[?(--[\w-]+)", words)}
    told = call(command, "--help", folder=tmp_path).out
    assert used - set(re.findall(r"--[\w-]+", told)) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_told_in_the_readme(command):
    assert f"loadpath {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


# Commands of a page that show what they print, each with the commands before it in its block.
def shown_commands():
    blocks = [
        (page, block)
        for page in SHOWN
        for block in FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
    ]
    return [
        pytest.param((ROOT / page).read_text(encoding="utf-8"), block, id=f"{page} {place}")
        for place, (page, block) in enumerate(blocks)
        if not all(line.startswith("$") for line in block.splitlines())
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), shown_commands())
def test_shown_output_is_what_the_command_prints(page, block, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("examples", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    for schedule in SCHEDULE.findall(page):
        (tmp_path / "tiny.goal").write_text(schedule, encoding="utf-8")
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        typed, _, wanted = part.partition("\n")
        words = shlex.split(typed, comments=True)
        assert words[0].endswith("loadpath")
        answer = call(*words[1:], folder=tmp_path)
        assert answer.code == 0, answer.err
        for line in filter("...".__ne__, wanted.splitlines()):
            assert line in answer.out.splitlines()


def completed(*typed):
    """Return what a shell is told that a line may go on with."""
    begin = "import sys; sys.argv[0] = 'loadpath'; from loadpath.__main__ import main; main()"
    words = {"COMP_WORDS": " ".join(("loadpath", *typed)), "COMP_CWORD": str(len(typed))}
    done = subprocess.run(
        [sys.executable, "-c", begin],
        env=os.environ | words | {"_LOADPATH_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.split()


def test_shell_is_told_how_a_half_typed_command_or_option_goes_on():
    assert completed("aud") == ["audit"]
    assert completed("audit", "--ba") == ["--baseline"]


def test_completion_is_offered_beside_the_commands(tmp_path):
    told = call("--help", folder=tmp_path).out
    assert {"--install-completion", "--show-completion"} <= set(re.findall(r"--[\w-]+", told))
