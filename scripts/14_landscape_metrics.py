"""P1-04: is each landscape one basin with the answer at its bottom?

Convexity, sharpness, energy gaps to wrong answers, and all minima that descents from near and far
starts reach (confirmed by gradient norm and inertia), for the trained energy beside an untrained one,
the two references and two plain predictions seen as bowls, over several fresh sets of problems.
Against: minima other than the answer's, lower than it or with a large basin; wrong answers with lower
energy; an untrained network, or a bowl around a plain prediction, that does as well. What descents do
not reach is not seen: counts of minima are lower bounds. Those outside the sampler's box stand apart.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P1-04",
    sets=Param(3, tiny=2, help="fresh sets of problems (seeds)"),
    problems=Param(10, tiny=3, help="problems in each set"),
    starts=Param(2, tiny=1, help="descents from each distance"),
    distances=Param((0.3, 1.0, 3.0, 10.0, 30.0), tiny=(1.0, 10.0), help="starts' distances in noise radii"),
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
        "beyond_controls": "at k = 0 the nearest minimum is nearer to the answer than that of the affine denoiser and "
        "of the regression network (10 noise radii where it is farther or none was found): paired 95 % intervals of "
        "the difference above 0, Bonferroni over both",
    },
)
def main(run):
    from functools import partial

    import torch

    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.core import states
    from ired.instruments.landscape import figures, study
    from ired.instruments.statistics.intervals import mean_interval
    from ired.model import problems

    run.gate("SETUP-5")
    energies = panel(run)
    size, n, c = run.params, run.profile.problem.n, run.profile.problem.c
    # Fresh problems, drawn anew for every set; no experiment has seen them.
    sets = [problems.generator(1000 * run.seed + s, "P1-04") for s in range(size.sets)]
    A = torch.cat([problems.FAMILIES["same"](size.problems, n, c, drawn) for drawn in sets]).to(run.device)
    run.dataset(f"P1-04 n={n}", problems.problem_digest(A), "fresh", "ired.model.problems.FAMILIES")
    y0, stream = states.answers(energies["trained"], A), partial(problems.generator, run.seed)
    with run.progress(len(energies), "metrics and descents, energies") as bar:
        sizes = {"distances": size.distances, "starts": size.starts, "patience": size.patience}
        clip = run.profile.sampling.clip
        tables = study.basin_tables(energies, A, y0, **sizes, clip=clip, stream=stream, done=bar.update)
    for name, table in tables.items():
        table["set"] = table["problem"] // size.problems
        run.table(name, table)
    summary = study.basin_summary(tables)
    run.table("summary", summary)
    counts = tables["minima"].groupby(["energy", "landscape", "set"])["minima"].mean()
    run.table("minima_by_set", counts.reset_index())

    for name, (met, numbers) in study.basin_verdicts(tables).items():
        run.criterion(name, met, **numbers)
    beside = study.basin_measures(tables)
    log_beside_controls(run, *(Measure(*measure) for measure in beside.values()))
    run.metrics(study.sharpest_means(beside))
    single = study.with_one_basin(tables["minima"])
    if single:
        print(f"{', '.join(single)}: all descents end in one minimum, so which one is nearest or lowest is no question")
    count = mean_interval(study.sharpest(tables["minima"], "minima"))
    run.headline("minima per problem, k=0", count.estimate, count.low, count.high)
    run.figure(
        "landscape_metrics",
        figures.plot_landscape_metrics(summary),
        f"Over {len(A)} problems in {size.sets} sets, with 95 % intervals. Minima are distinct ends of descents with "
        "vanishing gradient and no negative or zero eigenvalue: a lower bound of how many there are, as are saddles.",
    )
    run.figure(
        "minima_by_box",
        figures.plot_minima_by_box(summary),
        f"Shares of {len(A)} problems, and medians over those that have such a minimum, with 95 % intervals. The box "
        f"is |y| ≤ {clip:g}·√ᾱₖ in every entry, which no sample leaves.",
    )
    run.figure(
        "basins",
        figures.plot_basins(summary, size.distances, without=set(single) - {"trained"}),
        "Share of descents that end in the minimum nearest to the answer, by where they start, but for controls all of "
        "whose descents end in one minimum.",
    )


if __name__ == "__main__":
    main()
