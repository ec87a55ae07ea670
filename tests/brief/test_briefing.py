import json
import re
import subprocess
from html import unescape
from html.parser import HTMLParser
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loadpath.brief import render_briefing
from loadpath.errors import UsageError
from loadpath.units import format_ratio, format_seconds

KINDS = ("rank", "host", "none", "not_assessable")
UNITS = re.compile(r"-?[\d.,]+ (?:s|ms|us|ns|%)(?!\w)")


class Page(HTMLParser):
    """Collects tags, text outside drawings, and each number with its exact value."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.numbers, self.drawn, self.depth = [], [], [], [], 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.depth += tag == "svg"
        if tag == "data":
            self.numbers.append(dict(attrs)["value"])

    def handle_endtag(self, tag):
        self.depth -= tag == "svg"

    def handle_data(self, data):
        (self.drawn if self.depth else self.words).append(data)


def numbers_of(value):
    if isinstance(value, dict):
        return chain.from_iterable(numbers_of(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return chain.from_iterable(numbers_of(entry) for entry in value)
    return [value] if isinstance(value, int | float) else []


def known_numbers(document, tables):
    columns = [column for table in tables.values() for column in table.iter_columns()]
    cells = [column.to_list() for column in columns if column.dtype.is_numeric()]
    return set(numbers_of(document)) | set(chain.from_iterable(cells)) - {None}


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_the_page_is_in_a_table_of_the_audit(audited, kind):
    document, tables = audited(kind)
    page = Page(render_briefing(document, tables))
    known = known_numbers(document, tables)
    assert len(page.numbers) > 20
    assert [number for number in page.numbers if float(number) not in known] == []
    written = {f(n) for n in known for f in (format_seconds, format_ratio)} | {
        "95 %",
        "0.5 %",
        "10 %",
    }
    free = unescape(" ".join(page.words).replace("\n", " "))
    said = {match.rstrip(".,") for match in UNITS.findall(free)}
    evidence = set(UNITS.findall(" ".join(tables["blindness"]["evidence"])))
    stated = set(UNITS.findall(document["verdict"]["summary"]))
    assert said - written - evidence - stated == set()


def test_names_from_the_recording_are_shown_as_text(hostile):
    page = render_briefing(*hostile)
    tags = {tag for tag, _ in Page(page).tags}
    assert tags.isdisjoint({"script", "img", "iframe", "a", "link"})
    assert "&lt;script&gt;" in page
    assert "{{7*7}}" in page
    assert "=HYPERLINK" in page
    assert not any(letter in page for letter in "\x1b\x07\u202e")
    assert r"\x1b[31m\u202e" in page


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_needs_no_network_and_no_script(audited, kind):
    parsed = Page(render_briefing(*audited(kind)))
    policy = next(a["content"] for t, a in parsed.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    targets = [a[name] for _, a in parsed.tags for name in ("href", "src", "action") if name in a]
    assert all(target.startswith("data:image/png;base64,") for target in targets)
    assert all(not name.startswith("on") for _, a in parsed.tags for name in a)


def test_every_figure_says_what_it_shows(audited):
    parsed = Page(render_briefing(*audited("rank")))
    drawings = [attrs for tag, attrs in parsed.tags if tag == "svg"]
    names = {
        attrs["id"] for tag, attrs in parsed.tags if tag in {"title", "desc"} and "id" in attrs
    }
    assert len(drawings) == 10
    assert all(attrs["role"] == "img" for attrs in drawings)
    assert set(" ".join(attrs["aria-labelledby"] for attrs in drawings).split()) == names


# Headings in the order of the page, tables without a name, and text that is hard to read.
def hurdles(page):
    tags = Page(page).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h[1-6]", tag)]
    following = pairwise(tags)
    skipped = [(a, b) for a, b in zip([0, *levels], levels, strict=False) if b > a + 1]
    unnamed = [t for t, after in following if t[0] == "table" and after[0] != "caption"]
    return skipped + [attrs for _, attrs in unnamed if "aria-label" not in attrs]


@pytest.mark.parametrize("kind", KINDS)
def test_headings_skip_no_level_and_every_table_has_a_name(audited, kind):
    assert hurdles(render_briefing(*audited(kind))) == []


# Relative luminance as the Web Content Accessibility Guidelines define it.
def luminance(colour):
    long = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(long[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def test_text_stands_out_from_its_paper_by_light_in_the_dark_and_on_paper(audited):
    page = render_briefing(*audited("rank"))
    palettes = [
        dict(re.findall(r"--(\w+):(#\w+)", found)) for found in re.findall(r":root\{(.*?)\}", page)
    ]
    assert len(palettes) == 3
    for palette in palettes:
        for ink in ("ink", "soft", "red", "blue"):
            for paper in ("paper", "panel", "tint"):
                pair = sorted(luminance(palette[name]) + 0.05 for name in (ink, paper))
                assert pair[1] / pair[0] >= 4.5, (ink, paper)


def test_no_two_elements_share_an_id(audited):
    parsed = Page(render_briefing(*audited("rank")))
    names = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert len(names) == len(set(names))


def test_the_same_audit_gives_the_same_bytes(audited):
    assert render_briefing(*audited("rank")) == render_briefing(*audited("rank"))


def crowded(document, tables):
    """Fill a large job's tables as densely as they come: every picture and table at its largest."""
    random, n = np.random.default_rng(3), 40_000
    turn = np.arange(n)
    schema = tables["timeline"].schema
    dense = {
        "scenario": np.where(turn % 2, "without_cause", "actual"),
        "rank": turn // 2 % 12,
        "kind": np.array(["compute", "wait", "transfer"])[turn // 24 % 3],
        "start_s": turn // 24 * 0.0027,
        "end_s": turn // 24 * 0.0027 + 0.0027,
    }
    path = {
        "scenario": dense["scenario"],
        "order": turn // 2,
        "rank": random.integers(0, 12, n),
        "lane": "compute",
        "kind": "compute",
        "name": "optimizer-clip-main-grad",
        "start_s": turn * 1e-4,
        "end_s": turn * 1e-4 + 1e-4,
        "excess_s": 5e-5,
    }
    coupling = tables["coupling"].with_columns(
        transitive_s=random.random(tables["coupling"].height)
    )
    names = [f"communication of ranks {k}, {k + 8}, {k + 16}, {k + 24}" for k in range(30)]
    many = {
        name: pl.concat([tables[name]] * -(-30 // max(tables[name].height, 1))).head(30)
        for name in ("cause", "attribution", "sink", "interaction")
    }
    for name, column in (("cause", "key"), ("attribution", "key"), ("sink", "op_class")):
        many[name] = many[name].with_columns(pl.Series(column, names))
    files = [document["inputs"][0] | {"path_name": f"rank-{k}.json.gz"} for k in range(1024)]
    limitation = tables["limitation"]
    phases = [limitation.with_columns(phase=pl.lit(f"phase {k}")) for k in range(6)]
    return document | {"inputs": files}, tables | many | {
        "timeline": pl.DataFrame(dense).cast(dict(schema)),
        "path": pl.DataFrame(path).cast(dict(tables["path"].schema)),
        "coupling": coupling,
        "limitation": pl.concat([limitation, *phases]),
    }


def test_a_large_job_stays_under_200_kb(audited):
    page = render_briefing(*crowded(*audited("rank", ranks=1024, steps=500)))
    assert len(page.encode()) < 200_000
    assert "drawn as one" in page


def test_a_job_that_cannot_be_assessed_is_not_given_numbers(audited):
    page = render_briefing(*audited("not_assessable"))
    assert "Not assessable from this recording" in page
    assert page.count("not assessed") >= 4
    assert "Not shown: no conclusion across ranks" in page
    assert "Who waits because of whom" not in page
    assert "Where waiting ends" not in page
    assert "What each group costs" not in page
    assert "agrees with the proof" not in page


def test_without_a_price_no_money_is_shown(audited):
    page = render_briefing(*audited("rank", rate=False))
    assert "USD" not in page
    assert "no price was given" in page


def test_the_verdict_names_place_mechanism_and_what_it_cannot_tell_apart(audited):
    page = render_briefing(*audited("rank"))
    assert "Rank 0 (node-0) slows the job" in page
    assert "which this recording cannot tell apart" in page
    assert "device or host of rank 0" in page


def test_options_and_a_command_in_words_are_part_of_the_evidence(audited):
    document, tables = audited("rank")
    document |= {"options": {"gate": 0.03}, "command": ["loadpath", "audit", "job"]}
    page = unescape(render_briefing(document, tables))
    assert '{"gate": 0.03}' in page
    assert "<pre>loadpath audit job</pre>" in page


@pytest.mark.parametrize(
    ("kind", "place", "headline"),
    [
        ("stage", {"place": "stage", "stage": 3}, "Stage 3 slows the job"),
        ("link", {"place": "link", "link": "2-3"}, "Link 2-3 slows the job"),
        ("link", {"place": "link", "link": [2, 3]}, "Link 2 to 3 slows the job"),
        ("link", {"place": "group", "ranks": [1, 2]}, "The group of ranks 1, 2"),
        ("host", {"place": "host", "hosts": ["b"], "ranks": [2]}, "The host side of b (rank 2)"),
        ("data", {"place": "microbatch"}, "Uneven work between microbatches slows the job"),
        (
            "jitter",
            {"place": "all", "mechanism": "noise"},
            "No culprit: noise on all ranks costs time",
        ),
        ("absorbed", {"place": "rank", "ranks": [5], "hosts": []}, "Rank 5 is slow, but slack"),
    ],
)
def test_each_kind_of_verdict_has_its_headline(audited, kind, place, headline):
    document, tables = audited("rank")
    document["verdict"] |= {"kind": kind, "hosts": []} | place
    assert headline in unescape(render_briefing(document, tables))


def test_an_unknown_kind_of_verdict_is_refused(audited):
    document, tables = audited("rank")
    document["verdict"]["kind"] = "gremlin"
    with pytest.raises(UsageError, match="unknown kind 'gremlin'"):
        render_briefing(document, tables)


MEASURE = """<script>
const out = [];
const page = document.documentElement;
if (page.scrollWidth > page.clientWidth) out.push("page overflows by " + (page.scrollWidth - page.clientWidth));
for (const svg of document.querySelectorAll("svg.figure")) {
  const outer = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll("text")) {
    const box = text.getBoundingClientRect();
    if (box.width && (box.left < outer.left - 1 || box.right > outer.right + 1 ||
        box.top < outer.top - 1 || box.bottom > outer.bottom + 1)) out.push("clipped: " + text.textContent);
  }
}
for (const sheet of document.querySelectorAll(".sheet"))
  if (sheet.scrollWidth > sheet.clientWidth + 1) out.push("table overflows: " + sheet.textContent.slice(0, 60));
for (const card of document.querySelectorAll(".cards > div"))
  if (card.scrollWidth > card.clientWidth) out.push("card overflows: " + card.textContent.trim());
const cards = [...document.querySelectorAll(".cards > div")].map(c => Math.round(c.getBoundingClientRect().top));
const body = getComputedStyle(document.body);
document.title = JSON.stringify({out, rows: new Set(cards).size, ink: body.color, paper: body.backgroundColor,
  first: Math.round(document.querySelector(".first").getBoundingClientRect().bottom)});
</script></body>"""


def measured(chromium, folder, page, window, media):
    """Lay the page out in a browser, with a script that only this copy has."""
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    for condition in media:
        free = free.replace(f"@media {condition}", "@media all")
    copy = Path(folder) / "page.html"
    copy.write_text(free.replace("</body>", MEASURE), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
    quiet = "--disable-component-update --disable-sync --hide-scrollbars"
    command = [chromium, *flags.split(), *quiet.split(), f"--user-data-dir={folder}/profile"]
    command += [f"--window-size={window[0]},{window[1]}", "--dump-dom", copy.as_uri()]
    shown = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.decode()
    title = re.search(r"<title>(\{.*?\})</title>", shown)
    assert title is not None
    return json.loads(unescape(title[1]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("window", "media"),
    [((1280, 800), ()), ((1280, 800), ("(prefers-color-scheme:dark)",)), ((688, 1024), ("print",))],
    ids=["screen", "dark", "a4"],
)
def test_nothing_overflows_or_is_clipped(audited, chromium, tmp_path, kind, window, media):
    shape = {"ranks": 8, "steps": 1} if kind == "host" else {}
    found = measured(chromium, tmp_path, render_briefing(*audited(kind, **shape)), window, media)
    assert found["out"] == []
    assert found["rows"] == 1
    dark = media == ("(prefers-color-scheme:dark)",)
    assert (found["paper"] == "rgb(20, 23, 27)") is dark
    assert found["first"] <= window[1]


@pytest.mark.slow
def test_cards_and_captions_fit_a_phone(audited, chromium, tmp_path):
    document, tables = audited("rank")
    document["verdict"] |= {"confidence": 1.0, "n_resamples": 1000}
    page = render_briefing(document, tables)
    narrow = page.replace("</head>", "<style>html{width:390px}</style></head>")
    found = measured(chromium, tmp_path, narrow, (500, 900), ())
    # wide tables scroll in their own frame
    assert [what for what in found["out"] if not what.startswith("table overflows")] == []
    assert found["rows"] == 2


@pytest.mark.slow
def test_hostile_names_do_not_break_the_layout(hostile, chromium, tmp_path):
    found = measured(chromium, tmp_path, render_briefing(*hostile), (1280, 800), ())
    assert found["out"] == []


def test_a_cause_whose_gain_is_not_told_from_0_has_no_share(audited):
    document, tables = audited("rank")
    tables["cause"] = tables["cause"].with_columns(
        gain_low_s=pl.when(pl.col("kind") == "link").then(-0.1).otherwise("gain_low_s")
    )
    page = render_briefing(document, tables)
    row = page[page.index("link 0-1") :].split("</tr>")[0]
    assert row.count("—") == 2


def test_negative_zero_is_never_written(audited):
    document, tables = audited("rank")
    tables["sink"] = tables["sink"].with_columns(wait_s=pl.lit(-1e-13))
    document["replay"]["negative_lag_s"] = -1e-12
    page = render_briefing(document, tables)
    assert "-0.0" not in " ".join(Page(page).words)


def test_long_names_may_break_between_their_parts(audited):
    name = "LinearWithGradAccumulationAndAsyncCommunication"
    page = render_briefing(*audited("rank", names={"op": name}))
    assert "Linear<wbr>With<wbr>Grad<wbr>Accumulation" in page


@pytest.mark.parametrize("kind", KINDS)
def test_briefing_of_an_audit_read_back_is_the_same(audited, kind):
    document, tables = audited(kind)
    kept = json.loads(json.dumps(document, sort_keys=True))
    assert render_briefing(kept, tables) == render_briefing(document, tables)
