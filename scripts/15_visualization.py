"""P1-05: Phase 1 on one sheet.

Draws the master figure, an interactive surface and a one-page summary from what P1-01 to P1-04 have
logged; nothing is computed anew. Every criterion of the phase is listed, the unmet ones too.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P1-05",
    problem=Param(0, help="which of the logged problems the pictures show", choices=(0, 1, 2)),
    criteria={
        "complete": "each of P1-01 to P1-04 has decided all its criteria and reports the trained "
        "energy and all five that it is held against in every landscape",
    },
)
def main(run):
    from ired.instruments.landscape import figures, figures_surface
    from ired.report import summary_page

    results = {name: run.upstream(name) for name in ("P1-01", "P1-02", "P1-03", "P1-04")}
    summaries = {name: result.table("summary") for name, result in results.items()}
    extent = results["P1-01"].meta("pictures")["extent"]
    pictures = results["P1-01"].tensors("pictures")
    curvature = summaries["P1-03"]
    curvature = curvature[curvature.place == "noised"]
    sheet = figures.plot_master(
        pictures,
        extent,
        summaries["P1-02"],
        curvature,
        summaries["P1-04"],
        run.params.problem,
    )
    run.figure(
        "phase1",
        sheet,
        "Slices in a random plane (above; +: answer, ×: sampled answer, line: sampling path; other energies: P1-01), "
        "and measures by landscape with 95 % intervals over problems (below).",
    )
    run.html("surface", figures_surface.surface(pictures, "trained.path", run.params.problem))

    rows = []
    for name, result in results.items():
        for criterion, met in result.criteria.items():
            prefix = f"criterion.{criterion}."
            numbers = {
                key.removeprefix(prefix): value for key, value in result.metrics.items() if key.startswith(prefix)
            }
            rows.append(
                {
                    "experiment": name,
                    "name": criterion.replace("_", " "),
                    "met": met,
                    "asked": result.tags[f"criterion.{criterion}"],
                    "numbers": ", ".join(f"{key} {value:.3g}" for key, value in numbers.items()),
                }
            )
    met = [row for row in rows if row["met"]]
    unmet = [f"{row['name']} ({row['experiment']})" for row in rows if not row["met"]]
    run.html(
        "summary",
        summary_page.summary_page(
            f"Phase 1: energy landscapes ({run.profile.name}, seed {run.seed}, negatives: {run.variant})",
            f"{len(met)} of {len(rows)} criteria are met. A criterion that is not met is a finding.",
            [("Not met", "; ".join(unmet) or "none")],
            rows,
            [(result.name, result.headline, result.run_id) for result in results.values()],
            sheet,
            "Master figure of Phase 1: slices of the energy, and measures by landscape",
        ),
    )
    whole = [
        table.groupby("energy")["landscape"].nunique().reindex(figures.ENERGIES).eq(10).all()
        for table in summaries.values()
    ]
    run.criterion("complete", all(whole) and rows, criteria=len(rows))
    run.headline("share of Phase 1's criteria met", len(met) / len(rows))


if __name__ == "__main__":
    main()
