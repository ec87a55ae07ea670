"""What is not known, by how much it drives the band of the cost."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.forecast.outlook import key_name
from loadpath.tables.schema import Column, TableSchema

__all__ = ["DRIVER", "drivers_of"]

Array = NDArray[np.float64]
CHANCE = 10.83
"""Worlds times squared correlation that what drives nothing stays below, 999 times in 1,000."""

DRIVER = TableSchema(
    "driver",
    "what is not known, by how much it drives the band of the cost at the present size",
    (
        Column("prior", pl.String, "its name"),
        Column("share_ratio", pl.Float64, "share of the variance of the logarithm of the cost"),
    ),
)


def drivers_of(normals: Mapping[str, Array], cost: Array) -> pl.DataFrame:
    """Split the variance of the cost over what is not known, largest first.

    Parameters
    ----------
    normals : mapping of str to ndarray of float, shape (n_world,)
        Where each world lies in what is not known.
    cost : ndarray of float, shape (n_world,)
        Of a unit of work.

    Returns
    -------
    polars.DataFrame
        Table `DRIVER`; what chance alone may show is left out.
    """
    logs = np.log(cost)
    if not logs.std() > 0:
        return DRIVER.empty()
    shares = {
        key_name(key): float(np.corrcoef(drawn, logs)[0, 1] ** 2) for key, drawn in normals.items()
    }
    rows = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    kept = [row for row in rows if row[1] * len(logs) > CHANCE]
    return DRIVER.validate(pl.DataFrame(kept, schema=DRIVER.schema, orient="row"))
