"""Known answers as checks: what was expected, what was measured, and how far apart the two may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Check:
    """One known answer: passed when |measured − expected| ≤ tolerance."""

    instrument: str
    what: str
    expected: float
    measured: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return abs(self.measured - self.expected) <= self.tolerance

    @property
    def share(self) -> float:
        """The part of the tolerance that the error takes up, at most 1e9."""
        return min(abs(self.measured - self.expected) / max(self.tolerance, 1e-300), 1e9)

    def __str__(self) -> str:
        return (
            f"{self.instrument}: {self.what}: expected {self.expected:.6g}, "
            f"measured {self.measured:.6g} (tolerance {self.tolerance:g})"
        )


def compare(instrument: str, what: str, expected: ArrayLike, measured: ArrayLike, tolerance: float) -> Check:
    """The check of arrays at the place where they differ most (NaN differs more than anything)."""
    expected, measured = np.broadcast_arrays(
        np.asarray(expected, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    )
    distance = np.abs(measured - expected).ravel()
    worst = int(np.where(np.isnan(distance), np.inf, distance).argmax())
    return Check(
        instrument,
        what,
        expected=float(expected.ravel()[worst]),
        measured=float(measured.ravel()[worst]),
        tolerance=tolerance,
    )


def relative(instrument: str, what: str, expected: ArrayLike, measured: ArrayLike, tolerance: float) -> Check:
    """The same with measured/expected against 1, for numbers of many sizes."""
    return compare(instrument, what, 1.0, np.asarray(measured) / np.asarray(expected), tolerance)


def to_scale(instrument: str, what: str, expected: ArrayLike, measured: ArrayLike, tolerance: float) -> Check:
    """The same with both over the largest number expected: of many numbers of either sign some are
    next to nothing by chance, and their relative errors are of no size."""
    size = np.abs(expected).max()
    return compare(instrument, what, np.asarray(expected) / size, np.asarray(measured) / size, tolerance)
