"""An interactive 3-D view of energy slices: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from ired.figures.style import COLOURS


def surface(pictures: Mapping[str, np.ndarray], name: str, problem: int = 0) -> str:
    """The slice of `name` ("trained.path") at every landscape behind a slider, the ideal bowl beside.

    pictures: arrays as `phase1.picture` makes them.
    """
    landscapes = sorted(
        int(key.split(".")[2][1:])
        for key in pictures
        if key.startswith(f"{name}.") and key.endswith(".gap")
    )
    if not landscapes:
        raise ValueError(f"there are no slices of {name}")
    figure = go.Figure()
    top = max(float(np.asarray(pictures[f"{name}.k{k}.line"])[-1]) for k in landscapes) ** 2
    for k in landscapes:
        gap = np.asarray(pictures[f"{name}.k{k}.gap"])[problem]
        line = np.asarray(pictures[f"{name}.k{k}.line"])
        extent = line[-1]
        figure.add_surface(
            x=line, y=line, z=gap, colorscale="Cividis", cmin=0, cmax=top, opacity=0.95,
            name="trained", visible=k == landscapes[0], colorbar={"title": "gap (σ)"},
            contours_z={"show": True, "color": "black", "width": 1},
        )  # fmt: skip
        u, v = np.asarray(pictures[f"{name}.k{k}.path"])[problem].T
        inside = (abs(u) <= extent) & (abs(v) <= extent)
        column, row = (np.searchsorted(line, w[inside]).clip(0, len(line) - 1) for w in (u, v))
        figure.add_scatter3d(
            x=u[inside], y=v[inside], z=gap[row, column] + 0.02 * top, mode="lines+markers",
            marker={"size": 3, "color": COLOURS["least_squares"]}, name="sampling path",
            visible=k == landscapes[0],
        )  # fmt: skip
    u, v = np.meshgrid(line, line)
    figure.add_surface(
        x=line, y=line, z=(u * u + v * v) / 2, opacity=0.25, showscale=False, name="ideal",
        colorscale=[[0, COLOURS["ideal"]], [1, COLOURS["ideal"]]],
    )  # fmt: skip
    steps = []
    for i, k in enumerate(landscapes):
        shown = [j // 2 == i for j in range(2 * len(landscapes))] + [True]
        steps.append({"label": str(k), "method": "update", "args": [{"visible": shown}]})
    figure.update_layout(
        title="Energy around the answer (0, 0) in the plane of the sampling path; green: ideal bowl",
        sliders=[{"steps": steps, "currentvalue": {"prefix": "landscape k = "}}],
        scene={
            "xaxis_title": "u (σ)",
            "yaxis_title": "v (σ)",
            "zaxis_title": "energy gap (σ)",
            "zaxis_range": [-top / 4, 1.2 * top],
        },
    )
    return figure.to_html(include_plotlyjs=True, full_html=True, div_id="surface")
