"""The figure of error bars shows what exists and names what does not."""

import numpy as np
import pytest
from pandas import DataFrame

from ired.instruments.uncertainty import figures
from ired.instruments.uncertainty.reliability import ALIKE, CERTAIN, NO_INTERVALS
from ired.plotting.style import COLOURS

LANDSCAPES = range(10)


@pytest.fixture
def planted():
    """Tables of a model that is right where the noise is small, of a regression and of the ideal energy."""
    calibration, coverage, ranking = [], [], []
    for energy, base in (("trained", 0.9), ("regression", 1.3), ("affine", 1.0), ("ideal", np.nan)):
        for k in LANDSCAPES:
            certain, constant = energy == "ideal", energy in ("ideal", "regression")
            ratio = base * (1 + (energy == "trained") * 0.1 * k)
            calibration.append(
                {
                    "energy": energy,
                    "landscape": k,
                    "ratio": ratio,
                    "low": 0.9 * ratio,
                    "high": 1.1 * ratio,
                    "note": CERTAIN if certain else "",
                    "sharpness": 0.0 if certain else 0.6 * 0.7**k,
                    "negative": 0.3 * 0.5**k * (energy == "trained"),
                }
            )
            for kind in ("entries", "functionals"):
                for nominal in (0.5, 0.8, 0.95):
                    share = nominal ** (ratio if np.isfinite(ratio) else 1) * (not certain)
                    coverage.append(
                        {
                            "energy": energy,
                            "landscape": k,
                            "kind": kind,
                            "nominal": nominal,
                            "coverage": share,
                            "low": share - 0.03,
                            "high": share + 0.02,
                            "note": NO_INTERVALS if certain else "",
                        }
                    )
            rho = 0.0 if constant else 0.67 - 0.05 * k
            ranking.append(
                {
                    "energy": energy,
                    "landscape": k,
                    "spearman": rho,
                    "spearman_low": rho - 0.1,
                    "spearman_high": rho + 0.1,
                    "kappa": 0.0 if certain else 0.51 - 0.03 * k,
                    "note": ALIKE if constant else "",
                }
            )
    return {
        "calibration": DataFrame(calibration),
        "coverage": DataFrame(coverage),
        "ranking": DataFrame(ranking),
    }


def test_curves_are_what_was_planted_and_gaps_are_named(planted):
    figure = figures.plot_error_bars(**planted)
    ratios, sharpness, negative, reliability, coverage, ranks = figure.axes
    (trained,) = [line for line in ratios.lines if line.get_color() == COLOURS["trained"]]
    np.testing.assert_allclose(trained.get_ydata(), 0.9 * (1 + 0.1 * np.arange(10)))
    assert ratios.texts[0].get_text() == "no ratio: ideal"
    assert [axis.texts[0].get_text() for axis in (reliability, coverage)] == ["no intervals: ideal"] * 2
    named = " ".join(ranks.texts[0].get_text().split())
    assert named == "nothing to rank: regression network, ideal"
    assert len([line for line in ranks.lines if line.get_linestyle() == ":" and len(line.get_xdata()) == 10]) == 4
    assert len(sharpness.lines) == 4 and len(negative.lines) == 4  # the first with a level, and without the ideal
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "trained",
        "regression network",
        "affine denoiser",
        "ideal",
    ]


def test_landscapes_without_a_number_are_named_where_they_are_not_all(planted):
    table = planted["calibration"]
    table.loc[(table["energy"] == "trained") & (table["landscape"] > 7), "note"] = CERTAIN
    figure = figures.plot_error_bars(**planted)
    assert figure.axes[0].texts[0].get_text() == "no ratio: trained (k = 8, 9), ideal"


def test_energies_without_any_number_are_drawn_without(planted):
    figure = figures.plot_error_bars(**{name: table[table["energy"] == "ideal"] for name, table in planted.items()})
    assert figure.axes[0].texts[0].get_text() == "no ratio: ideal"
    figure.canvas.draw()
