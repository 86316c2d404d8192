"""P3-03: does the gradient keep to a few directions, and are they directions of something?

PCA of ∇_y E over at least 1000 noised answers (and states of sampling paths) in every landscape: its active subspace
(Constantine et al. 2014), raw and beyond the best multiple of the state, which needs no A. Components count as real
above permuted and sign-flipped entries (Horn 1965; Hong et al. 2020); their span is compared between halves of the
problems, and on fresh problems with A's eigen-directions, the exact sensitivity of the inverse dY = −Y dA Y, concepts
and features led back to y. An untrained network, the ideal energy (whose gradient is the noise) and the bowls around
least squares and a regression network (whose components are the axes of their errors) go the same way. Against the
directions: no component above chance, another subspace on other problems, or no more of dY than random
directions have.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

LAYERS = {"fc1": "P2-02", "fc2": "P2-03", "fc3": "P2-04"}


@command(
    "P3-03",
    problems=Param(1000, tiny=150, gpu=2000, help="problems that the PCA is over"),
    states=Param(2, help="noised answers of each problem in each landscape"),
    draws=Param(100, tiny=40, paper=50, gpu=100, help="shuffles, flips, and random directions of each layer"),
    resamples=Param(100, tiny=30, paper=50, gpu=100, help="resamples and halves of the problems"),
    fresh=Param(200, tiny=40, help="fresh problems that components are compared on"),
    landscapes=Param((0, 2, 5, 9), help="landscapes whose components are compared and handed on"),
    most=Param(2, help="components of each that are handed on, at most"),
    features=Param(20, tiny=8, help="features of each layer, those that fire most often"),
    criteria={
        "some_component_is_real": "in every landscape the field beyond the blind part has, at noised "
        "answers, a component above both nulls: p < 0.05, corrected over landscapes",
        "subspace_is_stable": "at k = 0 the real components of random halves of the problems are "
        "less than 30° apart: largest principal angle of 97.5 % of the splits",
        "follows_exact_sensitivity": "at k = 0 they (the first, where none is real) capture more of "
        "the exact sensitivity on fresh problems than 95 % of random subspaces: 95 % interval above",
        "beyond_controls": "at k = 0 they capture more of it than as many components of the affine denoiser and of the "
        "regression network: paired 95 % intervals over fresh problems above 0, Bonferroni over both",
    },
)
def main(run):
    import torch

    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.experiments.earlier_results import dictionary_of_run, directions_of_run
    from ired.instruments.attribution import figures_active_subspace as figures
    from ired.instruments.attribution.active_subspace_study import active_subspaces, most_used
    from ired.instruments.core import directions
    from ired.instruments.statistics.intervals import adjust
    from ired.model import problems
    from ired.model.sampling import AnnealedSampler

    size = run.params
    energies = panel(run, "untrained", "ideal", "affine", "regression")
    generator = problems.generator(run.seed, "gradient directions")
    n, c, count = run.profile.problem.n, run.profile.problem.c, size.problems + size.fresh
    A = problems.draw(count, n, c, generator, torch.float64).to(run.device)
    run.dataset(f"P3-03 n={n}", problems.problem_digest(A), "fresh", "ired.model.problems.draw")
    A, fresh = A.split([size.problems, size.fresh])
    others = directions_of_run(run, "P3-02")
    for layer, exp_id in LAYERS.items():
        rates = run.upstream(exp_id).table("features").set_index("feature")["rate"].to_dict()
        others += most_used(layer, dictionary_of_run(run, exp_id).decoder, rates, size.features)

    sampler = AnnealedSampler(**run.profile.sampling)
    study = active_subspaces(energies, sampler=sampler, A=A, fresh=fresh, others=others, size=size, generator=generator)
    trained, tables = study.trained, study.tables
    run.tensors("directions", *directions.pack_directions(study.directions))
    for name, table in (tables | {"directions": directions.direction_columns(study.directions)}).items():
        run.table(name, table)
    run.tensors("pictures", {"components": study.matrices})
    run.series({f"real.{'.'.join(of)}": [*enumerate(components.real)] for of, components in study.components.items()})

    worst = adjust(trained.chance).max()
    run.criterion("some_component_is_real", worst < 0.05, p=worst, fewest=trained.real.min())
    sharpest = tables["angles"].iloc[0]
    stable = trained.real[0] > 0 and sharpest.halves_high < 30
    angles = {"median": sharpest.halves, "high": sharpest.halves_high, "expected": sharpest.expected}
    run.criterion("subspace_is_stable", stable, **angles)
    sources = tables["captures"].query("landscape == 0").set_index("source")
    captured = sources.loc["trained"]
    shares = captured[["share", "low", "limit", "chance", "dimension"]].to_dict()
    run.criterion("follows_exact_sensitivity", captured.low > captured.limit, **shares)
    log_beside_controls(
        run,
        Measure("exact sensitivity captured by the leading components, k = 0", study.by_problem["captured"]),
        Measure("share of the field that they hold, k = 0", study.by_problem["held"]),
    )
    run.metrics({f"captured.{of}": value for of, value in (sources["share"] / sources["chance"]).items()})
    times = (captured[what] / captured.chance for what in ("share", "low", "high"))
    run.headline("exact sensitivity captured at k=0, times chance", *times)
    for name, figure, caption in figures.active_subspace_figures(tables, study.matrices):
        run.figure(name, figure, f"{caption} {size.problems} problems, {size.fresh} fresh ones.")


if __name__ == "__main__":
    main()
