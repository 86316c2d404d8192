"""Surface plots of energy slices, interactive: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from ired.plotting.style import COLOURS


def surface(pictures: Mapping[str, np.ndarray], name: str, problem: int = 0) -> str:
    """The slice of `name` ("trained.path") at every landscape behind a slider, with the ideal bowl.

    pictures: arrays as `figures.picture` makes them.
    """
    landscapes = sorted(
        int(key.split(".")[2][1:]) for key in pictures if key.startswith(f"{name}.") and key.endswith(".gap")
    )
    if not landscapes:
        raise ValueError(f"there are no slices of {name}")
    figure = go.Figure()
    steps = []
    for i, k in enumerate(landscapes):
        gap = np.asarray(pictures[f"{name}.k{k}.gap"])[problem]
        line = np.asarray(pictures[f"{name}.k{k}.line"])
        u, v = np.asarray(pictures[f"{name}.k{k}.path"])[problem].T
        inside = np.maximum(abs(u), abs(v)) <= line[-1]
        column, row = (np.searchsorted(line, w[inside]).clip(0, len(line) - 1) for w in (u, v))
        across, along = np.meshgrid(line, line)
        bowl = (across**2 + along**2) / 2
        lift = 0.01 * np.ptp(gap)  # a path drawn in the surface itself would be half hidden
        traces = (
            go.Surface(
                x=line,
                y=line,
                z=gap,
                name="trained",
                colorscale="Cividis",
                opacity=0.95,
                colorbar={"title": "gap (σ)", "len": 0.6},
                contours_z={"show": True, "color": "black", "width": 1},
            ),
            go.Scatter3d(
                x=u[inside],
                y=v[inside],
                z=gap[row, column] + lift,
                name="sampling path",
                mode="lines+markers",
                marker={"size": 3, "color": COLOURS["least_squares"]},
            ),
            go.Surface(
                x=line,
                y=line,
                z=np.where(bowl <= gap.max(), bowl, np.nan),
                name="ideal",
                opacity=0.25,
                showscale=False,
                colorscale=[[0, COLOURS["ideal"]], [1, COLOURS["ideal"]]],
            ),
        )
        figure.add_traces([trace.update(visible=i == 0) for trace in traces])
        shown = [j // len(traces) == i for j in range(len(traces) * len(landscapes))]
        steps.append({"label": str(k), "method": "update", "args": [{"visible": shown}]})
    figure.update_layout(
        title="Energy around the answer (0, 0) in the plane of the sampling path; green: ideal bowl",
        height=800,
        showlegend=False,
        sliders=[{"steps": steps, "currentvalue": {"prefix": "landscape k = "}}],
        scene={
            "aspectmode": "cube",
            "xaxis_title": "u (σ)",
            "yaxis_title": "v (σ)",
            "zaxis_title": "energy gap (σ)",
        },
    )
    return figure.to_html(include_plotlyjs=True, full_html=True, div_id="surface")
