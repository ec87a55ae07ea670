"""Damaged designs: all errors at once or a finite forecast; never a traceback, never a guessed unit."""

import math
import os
import random
import re
import time
import tomllib
from collections import Counter
from importlib.resources import files

import pytest
from tests.soak.hostile import mutant

from loadpath.errors import InputError, UsageError
from loadpath.forecast import parse_design, step_time

EXAMPLES = ("dense", "moe", "serving", "stencil")
MOST_SECONDS = 10.0
QUANTITY = re.compile(r'^(\w+ = )"([0-9.]+ [A-Za-z/1]+)"', re.MULTILINE)
VALUES = (
    *("0", "-1", "1", "2", "3", "7", "96", "1000000", "10000000000", "99999999999999999999", "0.5", "-0.0"),
    *("1e-300", "1e300", "1e999", "nan", "inf", "true", "[]", "[1]", "{}", '""', '"8 B"', '"8 s"', '"1e9 GB/s"'),
    *('"0 s"', '"-1 s"', '"400 Gb"', '"full"', '"fp8"', '"H100-SXM5-80GB"', "1979-05-27", '"\\u0000"', "[[1]]"),
)  # fmt: skip
"""What takes the place of a value: numbers that no design has, other units, other types."""


def example(name):
    return files("loadpath.forecast").joinpath(f"examples/{name}.toml").read_text(encoding="utf-8")


def changed(text, seed):
    """Change one to three lines: another value, no line, twice the line, another key, another table."""
    rng = random.Random(seed)  # noqa: S311 - reproducible
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines))
        key, _, _ = lines[place].partition("=")
        lines[place] = rng.choice(
            [
                f"{key}= {rng.choice(VALUES)}",
                f"{key}= {rng.choice(VALUES)}",
                "",
                f"{lines[place]}\n{lines[place]}",
                lines[place].replace("e", "ee", 1),
                rng.choice(lines),
                f"{key.strip()}_bytes = 8",
            ]
        )
    return "\n".join(lines)


def survive(text):
    """Forecast a design, or have all that is wrong with it told in one error."""
    begin = time.process_time()
    problems: list[str] = []
    try:
        found = step_time(parse_design(text, "job.toml"), condensed=True)
    except InputError as error:
        problems, said = list(error.problems), "InputError"
    except UsageError as error:
        problems, said = [str(error)], f"UsageError: {error}"
    else:
        assert 0 < found.step_s < math.inf
        assert 0 <= found.mfu_ratio <= 1
        assert math.isclose(sum(found.limitation.values()), 1, abs_tol=1e-6)
        said = "forecast"
    assert (said == "forecast") == (not problems)
    assert time.process_time() - begin < MOST_SECONDS
    return said


def outcomes(name, seeds):
    text = example(name)
    told = Counter(survive(changed(text, seed)) for seed in seeds)
    for seed in seeds:
        raw = mutant(text.encode(), seed)
        try:
            told[survive(raw.decode("utf-8"))] += 1
        except UnicodeDecodeError:
            told["no text"] += 1
    return told


@pytest.mark.parametrize("name", EXAMPLES)
def test_some_mutants_of_designs_are_forecast_or_refused(name):
    assert survive(example(name)) == "forecast"
    told = outcomes(name, range(60))
    assert set(told) <= {"forecast", "InputError", "no text"}
    assert told["forecast"] > 0
    assert told["InputError"] > 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_quantity_without_its_unit_is_never_forecast(name):
    text = example(name)
    for found in QUANTITY.finditer(text):
        number = found[2].split()[0]
        for other in (number, f'"{number}"', f'"{number} kg"'):
            with pytest.raises(InputError, match=found[1].split()[0]):
                parse_design(text[: found.start()] + found[1] + other + text[found.end() :])


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_wrong_line_is_named_in_the_one_error(name):
    table = tomllib.loads(example(name))
    n = example(name).count("\n")
    text = example(name) + "\n[gibberish]\na = 1\n[power]\nidle = 7\nbusy = 8\n"
    assert "power" not in table
    with pytest.raises(InputError) as refused:
        parse_design(text)
    said = "; ".join(refused.value.problems)
    for word in ("gibberish", "power.idle", "power.busy"):
        assert word in said
    assert f"line {n + 5}" in said


@pytest.mark.soak
@pytest.mark.parametrize("name", EXAMPLES)
def test_two_thousand_mutants_of_designs_are_forecast_or_refused(name):
    first = int(os.environ.get("LOADPATH_SOAK_SEED", "0"))
    told = outcomes(name, range(first, first + 1000))
    assert told.total() == 2000
    assert set(told) <= {"forecast", "InputError", "no text"}
