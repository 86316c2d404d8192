"""P1-04: is each landscape one basin with the answer at its bottom?

Convexity, sharpness, energy gaps to wrong answers, and all minima that descents from near and far
starts reach (confirmed by gradient norm and inertia), for the trained energy beside an untrained one
and the two references, over several fresh sets of problems. Against: minima other than the answer's,
lower than it or with a large basin; wrong answers with lower energy; an untrained network that does
as well. What descents do not reach is not seen: counts of minima are lower bounds.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P1-04",
    sets=Param(3, tiny=2, help="fresh sets of problems (seeds)"),
    problems=Param(10, tiny=3, help="problems in each set"),
    starts=Param(2, tiny=1, help="descents from each distance"),
    distances=Param(
        (0.3, 1.0, 3.0, 10.0, 30.0), tiny=(1.0, 10.0), help="starts' distances in noise radii"
    ),
    patience=Param(
        6, paper=0, gpu=6, help="Newton steps at indefinite Hessians before gradients lead on; 0 finds no saddles"
    ),
    criteria={
        "convex_at_the_noise": "at k = 0 at least 95 % of segments between noised answers are "
        "midpoint convex: 95 % interval",
        "wrong_answers_cost_more": "at k = 0 other problems' answers have higher energy in at "
        "least 95 % of pairs: 95 % interval over problems",
        "bottom_at_the_answer": "at k = 0 every problem's nearest minimum is on average less than "
        "half a noise radius from the answer: 95 % interval, and found for at least 90 %",
        "no_lower_minimum": "at k = 0 the nearest minimum is also the lowest found, for at least "
        "95 % of problems (exact 95 % interval)",
    },
)
def main(run):
    import numpy as np
    import pandas
    import torch

    from ired.instruments.core import states
    from ired.instruments.landscape import figures, minima
    from ired.instruments.statistics.intervals import mean_interval, proportion_interval
    from ired.instruments.statistics.tables import per_unit, summarise
    from ired.model import problems
    from ired.model.reference import panel

    run.gate("SETUP-5")
    trained = run.upstream("SETUP-3").path("model.safetensors")
    energies = panel(trained, run.seed, run.device)
    model = energies["trained"]
    n, c, count = run.profile.problem.n, run.profile.problem.c, run.params.problems
    # Fresh problems, drawn anew for every set; no experiment has seen them.
    A = torch.cat(
        [
            problems.FAMILIES["same"](count, n, c, problems.generator(1000 * run.seed + s, "P1-04"))
            for s in range(run.params.sets)
        ]
    ).to(run.device)
    run.dataset(f"P1-04 n={n}", problems.digest(A), "fresh", "ired.model.problems.FAMILIES")
    y0, landscapes = states.answers(model, A), range(model.schedule.K)
    wrong = {"other": minima.other_answers(y0, min(8, len(A) - 1))}

    def stream(purpose):
        """The same random points for every energy: comparisons are paired."""
        return problems.generator(run.seed, purpose)

    found = {"convexity": [], "sharpness": [], "gaps": [], "minima": []}
    with run.progress(len(energies), "metrics and descents, energies") as bar:
        for name, energy in energies.items():
            for kind, seen in {
                "convexity": minima.convexity(
                    energy, A, y0, landscapes, (0.3, 1.0, 3.0), 64, stream("convexity")
                ),
                "sharpness": minima.sharpness(energy, A, y0, landscapes, stream("sharpness")),
                "gaps": minima.energy_gaps(energy, A, y0, landscapes, wrong, stream("gaps")),
                "minima": minima.find_minima(
                    energy, A, y0, landscapes, run.params.distances, run.params.starts, stream("minima"),
                    patience=run.params.patience,
                ),
            }.items():
                found[kind].append(pandas.DataFrame(seen.columns()).assign(energy=name))
            bar.update()
    tables = {kind: pandas.concat(parts, ignore_index=True) for kind, parts in found.items()}
    for name, table in tables.items():
        table["set"] = table["problem"] // count
        run.table(name, table)
    near = tables["convexity"][tables["convexity"].scale == 1.0]
    basins = [name for name in tables["minima"] if name.startswith("basin_")]
    by = ["energy", "landscape"]
    known = tables["minima"][tables["minima"].found]
    parts = [
        summarise(near, by, ["share", "rays", "curvature"]),
        summarise(tables["sharpness"], by, ["radius"]),
        summarise(tables["gaps"], by, ["other_gap", "other_rate", "noised_gap", "noised_rate"]),
        summarise(tables["minima"], by, ["minima", "saddles", "flat", "unconverged", "escaped", *basins]),
        summarise(known, by, ["nearest_distance", "lowest_distance", "lowest_is_nearest"]),
    ]
    summary = pandas.concat(parts, ignore_index=True)
    run.table("summary", summary)
    spread = tables["minima"].groupby(["energy", "landscape", "set"])["minima"].mean()
    run.table("minima_by_set", spread.reset_index())

    sharpest = {"energy": "trained", "landscape": 0}
    share = mean_interval(per_unit(near, "share", **sharpest))
    control = sharpest | {"energy": "untrained"}
    run.criterion(
        "convex_at_the_noise", share.low >= 0.95, share=share.estimate, low=share.low,
        untrained=per_unit(near, "share", **control).mean(),
    )  # fmt: skip
    rate = mean_interval(per_unit(tables["gaps"], "other_rate", **sharpest))
    run.criterion(
        "wrong_answers_cost_more", rate.low >= 0.95, rate=rate.estimate, low=rate.low,
        untrained=per_unit(tables["gaps"], "other_rate", **control).mean(),
    )  # fmt: skip
    exists = per_unit(tables["minima"], "found", **sharpest)
    nearest = per_unit(tables["minima"], "nearest_distance", **sharpest)
    nearest = nearest[np.isfinite(nearest)]
    high = mean_interval(nearest).high if len(nearest) > 1 else float("1e9")
    run.criterion(
        "bottom_at_the_answer", exists.mean() >= 0.9 and high < 0.5,
        found=exists.mean(), distance=nearest.mean() if len(nearest) else 1e9, high=high,
    )  # fmt: skip
    lowest = per_unit(tables["minima"], "lowest_is_nearest", **sharpest)
    right = proportion_interval(int(lowest.sum()), len(lowest))
    run.criterion("no_lower_minimum", right.low >= 0.95, share=right.estimate, low=right.low)
    seen = mean_interval(per_unit(tables["minima"], "minima", **sharpest))
    run.headline("minima per problem, k=0", seen.estimate, seen.low, seen.high)
    run.figure(
        "landscape_metrics",
        figures.landscape_metrics(summary),
        f"Means over {len(A)} problems in {run.params.sets} sets with 95 % intervals. Minima are "
        "distinct ends of descents with vanishing gradient and no negative or zero eigenvalue: a lower bound of how "
        "many there are, as are saddles.",
    )
    run.figure(
        "basins",
        figures.basins(summary, run.params.distances),
        "Share of descents that end in the minimum nearest to the answer, by where they start.",
    )


if __name__ == "__main__":
    main()
