"""Figure of linearity: R² of the score, spread of Hessians, curvature beside its closed form, and denoising loss."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from ired.instruments.linearity.study import LOSS
from ired.plotting.axes import landscape_axis, value_axis
from ired.plotting.plots import legend_below
from ired.plotting.style import COLOURS, LABELS, band, canvas

CLOSED_FORM = "least squares and Gaussian errors"
# Of energies that have no colour in the whole project: those of the panel have one.
_OTHERS = (
    COLOURS["path"],
    COLOURS["mean"],
    COLOURS["least_squares_squared"],
    COLOURS["regression"],
    "#0b3c5d",
    "#7a7a00",
)


def plot_energy_linearity(table: DataFrame, title: str) -> Figure:
    """table: columns energy, landscape, measure, value, low, high, as `study.linearity_tables` gives them; the panel of
    losses is there where these were measured."""
    by = {measure: rows for measure, rows in table.groupby("measure")}
    figure, axes = canvas(2, 2, (5.2, 3.3), title=title)
    affine, spread, curvature, loss = axes.flat
    last = int(table["landscape"].max())
    rest = iter(_OTHERS)
    colours = {name: COLOURS.get(name) or next(rest, "0.3") for name in table["energy"].unique()}
    for axis, measure in ((affine, "affine"), (spread, "spread"), (curvature, "curvature")):
        for name, rows in by[measure].groupby("energy", sort=False):
            label = LABELS.get(name, name)
            band(axis, rows["landscape"], rows["value"], rows["low"], rows["high"], label, colours[name])
    for name, rows in by["beyond y"].groupby("energy", sort=False):
        affine.plot(rows["landscape"], rows["value"], color=colours[name], linestyle=":", linewidth=1.4)
    affine.plot([], [], color="0.3", linestyle=":", linewidth=1.4, label="of what y alone leaves")
    drawn = set()
    for _, rows in by["round"].groupby("energy", sort=False):
        if (level := tuple(rows["value"].round(6))) not in drawn:
            label = None if drawn else CLOSED_FORM
            curvature.plot(rows["landscape"], rows["value"], color="0.15", linestyle="--", linewidth=1.3, label=label)
        drawn.add(level)
    lowest = min(by["affine"]["low"].min(), by["beyond y"]["value"].min(), 0)
    affine.set(title="affine share of the score", ylabel="R² by [A, y], other problems")
    affine.set_ylim(max(lowest, -0.3) - 0.05, 1.05)
    value_axis(spread, by["spread"]["value"].round(9).to_numpy(), "y")
    spread.set(title="how Hessians differ", ylabel="‖H − mean H‖ / ‖mean H‖")
    curvature.set(title="mean curvature", ylabel="mean curvature · σₖ")
    if LOSS in by:
        for name, rows in by[LOSS].groupby("energy", sort=False):
            band(
                loss, rows["landscape"], rows["value"], rows["low"], rows["high"], LABELS.get(name, name), colours[name]
            )
        value_axis(loss, by[LOSS]["value"].to_numpy(), "y")
        loss.set(title="denoising loss", ylabel="loss / the affine denoiser's")
    else:
        loss.set_axis_off()
    for axis in (affine, spread, curvature, *([loss] if LOSS in by else [])):
        landscape_axis(axis, last + 1)
    legend_below(figure, [affine, curvature], ncols=4)
    return figure
