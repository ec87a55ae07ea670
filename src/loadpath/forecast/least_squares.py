"""Fits of times: relative errors, no negative parts, and bands from what each group left out changes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import compress, product

import numpy as np
from numpy.typing import NDArray

from loadpath.forecast.distributions import student_quantile

__all__ = ["Fit", "fit_parts", "fit_ratios"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """Parts of a time, and how sure they are.

    Attributes
    ----------
    coefficients : ndarray of float, shape (n_part,)
        Contribution of each part per unit, none below 0.
    replicas : ndarray of float, shape (n_group, n_part)
        The same with one group of points left out at a time.
    errors : ndarray of float, shape (n_point,)
        Logarithm of predicted over measured, each point predicted without its group; infinite where
        nothing was left to predict from.
    spread : float
        Standard deviation of the logarithms that the fit leaves.
    """

    coefficients: Array
    replicas: Array
    errors: Array
    spread: float

    def band_factor(self, features: Array, level: float = 0.9) -> Array:
        """Say by which factor a new time may be off.

        Parameters
        ----------
        features : ndarray of float, shape (..., n_part)
            What each part contributes there.
        level : float
            Share of new times from prediction / factor to prediction x factor.

        Returns
        -------
        ndarray of float
            Factors from 1; infinite where fewer than two groups are known.

        References
        ----------
        .. [1] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 11: variance of an
           estimate by the jackknife, here over groups, whose points err together.
        """
        n_group = len(self.replicas)
        if n_group < 2 or not np.isfinite(self.spread):
            return np.full(np.shape(features)[:-1], np.inf)
        variance = self.spread**2 + np.square(self._shifts(features)).sum(axis=-1)
        quantile = student_quantile((1 + level) / 2, n_group - 1)
        return np.asarray(np.exp(quantile * np.sqrt(variance)), dtype=np.float64)

    def draw(self, features: Array, rng: np.random.Generator, n_sample: int) -> Array:
        """Draw how much the fit itself may be off, together at all places.

        Parameters
        ----------
        features : ndarray of float, shape (n_place, n_part)
            What each part contributes at each place.
        rng : numpy.random.Generator
            Source of randomness.
        n_sample : int
            Draws.

        Returns
        -------
        ndarray of float, shape (n_sample, n_place)
            Logarithms; they vary and covary over the places as the jackknife says, with the tails of
            Student's t.
        """
        n_free = max(len(self.replicas) - 1, 1)
        normals = rng.standard_normal((n_sample, len(self.replicas)))
        tail = np.sqrt(n_free / rng.chisquare(n_free, (n_sample, 1)))
        return np.asarray(tail * (normals @ self._shifts(features).T), dtype=np.float64)

    def _shifts(self, features: Array) -> Array:
        """Logarithms by which each group left out moves the prediction, to be added in squares."""
        n_group = len(self.replicas)
        with np.errstate(divide="ignore"):
            logs = np.log(np.asarray(features @ self.replicas.T, dtype=np.float64))
        shift = logs - logs.mean(axis=-1, keepdims=True)
        return np.asarray(np.sqrt((n_group - 1) / n_group) * shift, dtype=np.float64)


def fit_ratios(features: Array, measured: Array) -> Array:
    """Find parts that are not negative and whose sum comes closest, in relative terms.

    Parameters
    ----------
    features : ndarray of float, shape (n_point, n_part)
        What each part contributes per unit of its coefficient.
    measured : ndarray of float, shape (n_point,)
        Times, above 0.

    Returns
    -------
    ndarray of float, shape (n_part,)
        Coefficients, none below 0: a part of a time cannot save time. Of the few parts every subset is
        tried, the smaller first.

    Examples
    --------
    >>> fit_ratios(np.array([[1.0, 10.0], [1.0, 20.0]]), np.array([12.0, 22.0])).round(6)
    array([2., 1.])
    """
    size = np.abs(features).max(axis=0)
    scale = np.where(size > 0, size, 1.0)
    weighted = features / scale / measured[:, None]
    best, least = np.zeros(features.shape[1]), float(len(measured))
    for used in product((False, True), repeat=features.shape[1]):
        columns = list(compress(range(features.shape[1]), used))
        if not columns:
            continue
        found = np.linalg.lstsq(weighted[:, columns], np.ones(len(measured)), rcond=None)[0]
        left = float(np.square(weighted[:, columns] @ found - 1).sum())
        if found.min() >= 0 and left < least * (1 - 1e-9):
            best, least = np.zeros(features.shape[1]), left
            best[columns] = found
    return best / scale


def fit_parts(features: Array, measured: Array, groups: Sequence[Hashable]) -> Fit:
    """Fit parts of a time, once with all points and once without each group.

    Parameters
    ----------
    features : ndarray of float, shape (n_point, n_part)
        What each part contributes per unit of its coefficient.
    measured : ndarray of float, shape (n_point,)
        Times, above 0.
    groups : sequence, length n_point
        Points with the same entry err together and are left out together.

    Returns
    -------
    Fit
        Coefficients, replicas and the errors on what was left out.

    Examples
    --------
    >>> n = np.array([1.0, 2.0, 3.0, 4.0])
    >>> fit = fit_parts(np.stack([n**0, n], 1), 5 + 2 * n, [1, 2, 3, 4])
    >>> fit.coefficients.round(6), bool(np.allclose(fit.errors, 0))
    (array([5., 2.]), True)
    """
    coefficients = fit_ratios(features, measured)
    errors = np.full(len(measured), np.inf)
    replicas = []
    for label in dict.fromkeys(groups):
        out = np.array([group == label for group in groups])
        if out.all():
            continue
        replicas.append(fit_ratios(features[~out], measured[~out]))
        with np.errstate(divide="ignore"):
            errors[out] = np.log(features[out] @ replicas[-1] / measured[out])
    n_free = len(measured) - np.count_nonzero(coefficients)
    left = np.log(features @ coefficients / measured)
    spread = float(np.sqrt(np.square(left).sum() / n_free)) if n_free > 0 else float("inf")
    return Fit(coefficients, np.array(replicas), errors, spread)
