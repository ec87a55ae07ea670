from xml.etree.ElementTree import fromstring

from loadpath.brief.drawing import label, strips, ticks


def test_long_rows_do_not_drift_by_rounding():
    spans = [(k * 0.333, 5.0, 0.333) for k in range(3000)]
    path = fromstring(strips(spans, 12, 'stroke="red"')).attrib["d"]  # noqa: S314  (made here)
    x = 0.0
    for move in path.removeprefix("M0 5").replace("m", " m").split():
        x += sum(float(part) for part in move.removeprefix("m").split("h") if part)
    assert abs(x - 999) < 1


def test_no_bars_draw_nothing():
    assert strips([], 12, "") == ""


def test_labels_are_text_whatever_they_hold():
    drawn = fromstring(label(0, 0, "</text><script>&\x1b"))  # noqa: S314  (made here)
    assert drawn.text == "</text><script>&\\x1b"


def test_ticks_are_round_and_within_the_limit():
    assert ticks(0.634) == [0.0, 0.2, 0.4, 0.6]
    assert ticks(1e-7)[-1] == 1e-7
