import base64
import struct
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.brief import figure
from loadpath.brief.pixels import image, max_pool


def decode(uri):
    """Read an indexed PNG back: rows of palette indices and the palette."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    at, chunks = 8, {}
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks[data[at + 4 : at + 8]] = data[at + 8 : at + 8 + size]
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    raw = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    return raw[:, 1:], np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)


def test_eight_slow_ranks_among_ten_thousand_still_show(audited):
    document, tables = audited("rank")
    slow = np.arange(8) * 1237 + 55
    rank, step = np.repeat(np.arange(10_000, dtype=np.int32), 20), np.tile(np.arange(20), 10_000)
    excess = np.where(np.isin(rank, slow), 1.0, 0.01)
    tables["rank_step"] = pl.DataFrame(
        {
            "rank": rank,
            "step": step,
            "excess_s": excess,
            "wait_s": np.zeros(rank.size),
        }
    )
    drawing = figure("heatmap", document, tables).svg
    uri = drawing.split('href="')[1].split('"')[0]
    pixels, _ = decode(uri)
    bright = (pixels > 32).all(axis=1)
    assert np.count_nonzero(np.diff(bright.astype(int), prepend=0) == 1) == 8
    assert pixels.shape[0] <= 512
    assert "a pixel row is the largest of its ranks" in drawing


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_pooling_never_loses_the_largest_value(values, n_shown):
    cells = pl.DataFrame(
        {
            "row": range(len(values)),
            "column": [0] * len(values),
            "value": values,
        }
    ).cast({"value": pl.Float64})
    pooled = max_pool(cells, (len(values), 1), (n_shown, 1))
    assert pooled.shape == (min(len(values), n_shown), 1)
    assert np.nanmax(pooled) == max(values)


def test_absent_cells_are_transparent_and_negative_ones_dark():
    pixels, palette = decode(image(np.array([[np.nan, -1.0, 2.0]]), 2.0, (1, 1)))
    assert pixels.tolist() == [[0, 1, 40]]
    assert palette[40].tolist() == [0xFE, 0xE8, 0x38]


def test_a_matrix_of_zeros_is_dark_everywhere():
    pixels, _ = decode(image(np.zeros((2, 3)), 0.0, (2, 1)))
    assert pixels.shape == (4, 3)
    assert pixels.max() == pytest.approx(1)
