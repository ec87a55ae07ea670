"""Matrices as images: maxima pooled to the pixels shown, in cividis, as a PNG inside the page."""

import base64
import struct
import zlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["CIVIDIS", "cividis", "image", "max_pool"]

CIVIDIS = (
    *("#00224e", "#123570", "#3b496c", "#575d6d", "#707173"),
    *("#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"),
)
"""Ten anchors of the colour map, evenly spaced."""

_N_SHADES = 40
"""As many as an eye tells apart, and the colour key shows: further ones only make the page larger."""


def cividis(share: float) -> str:
    """Colour of a value.

    Parameters
    ----------
    share : float
        Value as a share of the largest, in [0, 1].

    Returns
    -------
    str
        Such as ``#00224e``.

    Examples
    --------
    >>> cividis(0.0), cividis(1.0)
    ('#00224e', '#fee838')
    """
    red, green, blue = _shades()[round(share * (_N_SHADES - 1))]
    return f"#{red:02x}{green:02x}{blue:02x}"


def max_pool(
    cells: pl.DataFrame, shape: tuple[int, int], shown: tuple[int, int]
) -> NDArray[np.float64]:
    """Reduce a matrix to the pixels shown, keeping the largest value of each block.

    A mean, or a browser's scaling, would make a few slow ranks among thousands vanish.

    Parameters
    ----------
    cells : polars.DataFrame
        Columns ``row``, ``column`` (indices) and ``value``; missing cells are allowed.
    shape : (int, int)
        Rows and columns of the matrix.
    shown : (int, int)
        Most rows and columns kept.

    Returns
    -------
    (n_row, n_column) array of float64
        Largest value of each block, NaN where a block has no cell.

    Examples
    --------
    >>> cells = pl.DataFrame({"row": [0, 1, 2], "column": [0, 0, 0], "value": [1.0, 9.0, 2.0]})
    >>> max_pool(cells, (4, 1), (2, 1)).tolist()
    [[9.0], [2.0]]
    """
    n_row, n_column = min(shape[0], shown[0]), min(shape[1], shown[1])
    pooled = cells.group_by(
        (pl.col("row").cast(pl.Int64) * n_row // max(shape[0], 1)).alias("row"),
        (pl.col("column").cast(pl.Int64) * n_column // max(shape[1], 1)).alias("column"),
    ).agg(pl.col("value").max())
    matrix = np.full((n_row, n_column), np.nan)
    matrix[pooled["row"].to_numpy(), pooled["column"].to_numpy()] = pooled["value"].to_numpy()
    return matrix


def image(matrix: NDArray[np.float64], largest: float, zoom: tuple[int, int]) -> str:
    """Write a matrix as a PNG for an ``href``; absent cells are transparent.

    Parameters
    ----------
    matrix : (n_row, n_column) array of float64
        Values; negative ones take the colour of 0.
    largest : float
        Value of the brightest colour.
    zoom : (int, int)
        Pixels per cell down and across: whole blocks, so that viewers need not smooth them.

    Returns
    -------
    str
        Data URI.
    """
    share = np.clip(matrix / largest if largest > 0 else matrix * 0, 0, 1)
    index = np.where(np.isnan(share), 0, 1 + np.round(np.nan_to_num(share) * (_N_SHADES - 1)))
    large = np.repeat(np.repeat(index.astype(np.uint8), zoom[0], axis=0), zoom[1], axis=1)
    rows = np.hstack([np.zeros((large.shape[0], 1), np.uint8), large])
    palette = b"\0\0\0" + _shades().astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", large.shape[1], large.shape[0], 8, 3, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", palette),
            _chunk(b"tRNS", b"\0"),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _shades() -> NDArray[np.int64]:
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in CIVIDIS])
    at = np.linspace(0, len(CIVIDIS) - 1, _N_SHADES)
    mixed = [np.interp(at, np.arange(len(CIVIDIS)), anchors[:, i]) for i in range(3)]
    return np.round(np.stack(mixed, axis=1)).astype(np.int64)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
