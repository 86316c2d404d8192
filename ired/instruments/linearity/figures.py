"""Figure of linearity: R² of the score, spread of the Hessians, curvature beside its closed form, denoising loss."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.linearity.study import LOSS
from ired.plotting.axes import landscape_axis, value_axis
from ired.plotting.plots import legend_below
from ired.plotting.style import COLOURS, band, canvas

CLOSED_FORM = "affine denoiser, were all directions alike"


def plot_energy_linearity(table: DataFrame, title: str) -> Figure:
    """table: columns energy, landscape, measure, value, low, high, as `study.linearity_tables` gives them."""
    figure, axes = canvas(2, 2, (5.2, 3.3), title=title)
    affine, spread, curvature, loss = axes.flat
    by = {str(measure): rows for measure, rows in table.groupby("measure")}
    for axis, measure in ((affine, "affine"), (spread, "spread"), (curvature, "curvature"), (loss, LOSS)):
        for name, rows in by[measure].groupby("energy", sort=False):
            ends = rows["landscape"], rows["value"], rows["low"], rows["high"]
            band(axis, *ends, str(name))
        landscape_axis(axis, int(table["landscape"].max()) + 1)
    for name, rows in by["beyond y"].groupby("energy", sort=False):
        affine.plot(rows["landscape"], rows["value"], color=COLOURS[name], linestyle=":", linewidth=1.4)
    affine.plot([], [], color="0.3", linestyle=":", linewidth=1.4, label="of what y alone leaves")
    rows = by["round"].drop_duplicates("landscape")
    style = {"color": "0.15", "linestyle": "--", "linewidth": 1.3}
    curvature.plot(rows["landscape"], rows["value"], label=CLOSED_FORM, zorder=4, **style)
    affine.set(title="Affine share of the score", ylabel="R² by [A, y], other problems")
    affine.set_ylim(max(min(by["affine"]["low"].min(), by["beyond y"]["value"].min(), 0), -0.3) - 0.05, 1.05)
    value_axis(spread, by["spread"]["value"].round(9).to_numpy(), "y")
    spread.set(title="How Hessians differ", ylabel="‖H − mean H‖ / ‖mean H‖")
    curvature.set(title="Mean curvature", ylabel="mean curvature · σₖ")
    value_axis(loss, by[LOSS]["value"].to_numpy(), "y")
    loss.set(title="Denoising loss", ylabel="loss / the affine denoiser's")
    legend_below(figure, [affine, curvature], ncols=3)
    return figure
