"""make growth: how time and memory grow with the matrix side n and the number of problems.

One training step, annealed sampling and exact Hessians, on the processor. Prints the fitted
exponents, logs everything to MLflow, and renews docs/figures/growth.png and docs/performance.md.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from benchmarks import record
from ired.lab.errors import in_one_line
from ired.lab.queue import ROOT

if TYPE_CHECKING:
    from benchmarks.costs import Fit, Point

    Fits = dict[tuple[str, str, str], Fit]

DOCUMENT, FIGURE = ROOT / "docs" / "performance.md", ROOT / "docs" / "figures" / "growth.png"
SIDES = (4, 6, 8, 12, 16, 20, 28, 40)
COUNTS = (64, 128, 256, 512, 1024, 2048, 4096)
FEW = (1, 2, 4, 8, 16, 32, 64)  # Hessians: each is n² × n²
SIDE, COUNT, SOME = 20, 512, 10  # what stays while the other grows; SOME Hessians
QUANTITIES = {"seconds": "time", "bytes": "memory"}
OVER = {"n": "n", "count": "problems"}
MIB = 2**20


def main() -> None:
    parser = record.arguments("growth", __doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two sizes less and two rounds: a third of the time; leaves docs/ as it is"
    )
    quick = parser.parse_args().quick
    record.filled(DOCUMENT.read_text(), "growth", "")  # a missing mark is said now, not at the end
    store = record.begin()
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler says nothing

    from benchmarks.costs import WORKS, curve, exponent

    points = []
    for work in WORKS:
        few = work.startswith("exact")
        sides = [(n, SOME if few else COUNT) for n in SIDES]
        counts = [(SIDE, count) for count in (FEW if few else COUNTS)]
        for over, sizes in (("n", sides), ("count", counts)):
            points += curve(work, over, sizes[:-2] if quick else sizes, rounds=2 if quick else 5)
            last = points[-1]
            print(f"{work}, n = {last.n}, {last.count} problems: {last.seconds:.3g} s", flush=True)
    fits = {
        (work, what, over): exponent(*_columns(points, work, what, over))
        for work in WORKS
        for what in QUANTITIES
        for over in OVER
    }
    machine = record.machine()
    text = f"{table(points, fits)}\n\n{', '.join(f'{k} {v}' for k, v in machine.items())}\n"
    print(f"\n{text}")
    picture = draw(points, fits)
    files = {"table.md": text, "points.csv": _csv(points), "growth.png": picture}
    name = "growth, quick" if quick else "growth"
    run_id = record.log(store, name, machine | {"quick": quick}, _metrics(points, fits), files)
    print(f"logged as run {run_id} of experiment Benchmarks")
    if not quick:
        FIGURE.write_bytes(picture)
        section = (
            f"{text}\nRun {run_id} of experiment Benchmarks.\n\n"
            "![Time and memory over n and over problems](figures/growth.png)"
        )
        DOCUMENT.write_text(record.filled(DOCUMENT.read_text(), "growth", section))


def _columns(points: list[Point], work: str, what: str, over: str) -> tuple[list, list]:
    chosen = [p for p in points if (p.work, p.over) == (work, over)]
    return [getattr(p, over) for p in chosen], [getattr(p, what) for p in chosen]


def table(points: list[Point], fits: Fits) -> str:
    """Exponents ± standard errors as a Markdown table, with the cost at one size of each work."""
    heads = [f"{name} over {OVER[over]}" for name in QUANTITIES.values() for over in OVER]
    lines = ["| " + " | ".join(["one call", *heads, f"at n = {SIDE}"]) + " |", "|---" * 6 + "|"]
    for point in (p for p in points if (p.over, p.n) == ("n", SIDE)):
        cells = [str(fits[point.work, what, over]) for what in QUANTITIES for over in OVER]
        cost = f"{point.count} problems: {point.seconds:.2g} s, {point.bytes / MIB:.0f} MiB"
        lines.append("| " + " | ".join([point.work, *cells, cost]) + " |")
    return "\n".join(lines)


def draw(points: list[Point], fits: Fits) -> bytes:
    """One panel for each quantity and axis, logarithmic: points, and the fit where it was made."""
    from matplotlib.ticker import NullLocator
    from PIL import Image

    from ired.plotting.style import COLOURS, canvas

    looks = {
        work: (COLOURS[name], marker)
        for work, name, marker in zip(
            dict.fromkeys(p.work for p in points),
            ("trained", "algebraic", "ideal", "least_squares"),
            "osD^",
            strict=True,
        )
    }
    figure, axes = canvas(2, 2, (4.4, 3.9), title="Cost of one call, with the exponents of its growth")
    for row, (what, name) in zip(axes, QUANTITIES.items(), strict=True):
        unit = MIB if what == "bytes" else 1
        for axis, over in zip(row, OVER, strict=True):
            for work, (colour, marker) in looks.items():
                x, y = _columns(points, work, what, over)
                y, fit = [v / unit for v in y], fits[work, what, over]
                fitted = [(a, fit.factor * a**fit.power / unit) for a in x if a >= fit.start]
                axis.plot(x, y, color=colour, alpha=0.4, linewidth=1)
                axis.plot(*zip(*fitted, strict=True), color=colour)
                axis.plot(x, y, color=colour, marker=marker, linestyle="", label=f"{work}: {fit}")
            axis.set(xscale="log", yscale="log")
            axis.set_xlabel("matrix side n" if over == "n" else "problems in one call")
            axis.set_ylabel("time (s)" if what == "seconds" else "memory (MiB)")
            held = f"{COUNT} problems, {SOME} Hessians" if over == "n" else f"n = {SIDE}"
            axis.set_title(f"{name.capitalize()} over {OVER[over]}  ({held})")
            ticks = SIDES if over == "n" else [4**i for i in range(7)]
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    # Few colours are a quarter of the bytes, and every renewal stays in the project's history.
    Image.open(drawn).convert("RGB").quantize(64).save(small, "png", optimize=True)
    return small.getvalue()


def _csv(points: list[Point]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, asdict(points[0]))
    writer.writeheader()
    writer.writerows(map(asdict, points))
    return buffer.getvalue()


def _metrics(points: list[Point], fits: Fits) -> list[tuple[str, float, int]]:
    """Exponents with their errors, and every curve with its n or number of problems as the step."""
    rows = []
    for (work, what, over), fit in fits.items():
        name = f"{work}.{what}_over_{OVER[over]}".replace(",", "").replace(" ", "_")
        rows += [(f"{name}.exponent", fit.power, 0), (f"{name}.standard_error", fit.error, 0)]
        rows += [(name, y, x) for x, y in zip(*_columns(points, work, what, over), strict=True)]
    return rows


if __name__ == "__main__":
    with in_one_line():
        main()
