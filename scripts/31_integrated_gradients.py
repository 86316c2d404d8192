"""P3-01: which entries of the problem and of the state do energy, score and answers come from?

Integrated gradients (Sundararajan et al. 2017; captum) of the energy gap to the answer, of entries of the score and
of the sampled answer's error, by every entry of A and y, from four baselines: zero, the identity, the training mean
and random problems (expected gradients), with as many steps as their sum needs to be right to 1 %; sampled answers
are smooth but for changes of which steps are accepted. Beside them gradient, input × gradient, SmoothGrad and Shapley
values, judged by infidelity and max-sensitivity. Completeness says nothing about validity: that is held against the
exact sensitivity of the inverse, dY = −Y dA Y. Against the claim that the network reads A as inversion does counts
that its sensitivity is no nearer to it than an untrained network's, or than to another problem's. Least squares and a
regression network, seen as energies, say whether it takes an energy at all.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

ENTRIES = ((0, 0), (0, 1))  # of the score: one on the diagonal, one beside it


@command(
    "P3-01",
    landscapes=Param((0, 2, 5, 9), tiny=(0, 5), help="landscapes of integrated attributions"),
    problems=Param(24, tiny=6, paper=12, help="problems of integrals and of answers' Jacobians"),
    compared=Param(100, tiny=12, help="problems of plain gradients against the exact sensitivity"),
    sampled=Param(6, tiny=2, paper=3, help="problems whose sampled answers' errors are explained"),
    random=Param(4, tiny=2, help="random problems that paths to each problem start from"),
    judged=Param(8, tiny=3, help="problems that methods are judged on"),
    samples=Param(50, tiny=8, help="noises and orders of features for judging methods"),
    criteria={
        "completeness_below_1_percent": "in at least 95 % of all cases (target, baseline, problem, "
        "landscape) the attributions' sum is within 1 % of the difference explained",
        "score_follows_exact_sensitivity": "at k = 0 the cosine of the score's gradient by A to the "
        "exact one exceeds the untrained network's and the cosine to another problem's exact one: "
        "paired 95 % intervals above 0",
        "answers_follow_exact_sensitivity": "the same for the Jacobian of sampled answers",
        "beyond_controls": "the cosine of the Jacobian of sampled answers to the exact one exceeds that of the affine "
        "denoiser and of the regression network: paired 95 % intervals above 0, Bonferroni over both",
    },
)
def main(run):
    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.attribution import figures, tables
    from ired.instruments.attribution.integrated_gradients import SHARE, WITHIN
    from ired.instruments.attribution.study import study_attribution
    from ired.instruments.core import directions
    from ired.instruments.dictionaries.activations import LAYERS
    from ired.model import problems
    from ired.model.sampling import AnnealedSampler

    run.gate("SETUP-5")
    stored = run.upstream("SETUP-2").tensors("problems")
    A, background = (stored[name].to(run.device) for name in ("test.A", "validation.A"))
    study = study_attribution(
        panel(run),
        sampler=AnnealedSampler(**run.profile.sampling),
        A=A,
        background=background,
        mean=problems.mean_diagonal(**run.profile.problem),
        entries=ENTRIES,
        layers=LAYERS,
        size=run.params,
        generator=problems.generator(run.seed, "attribution"),
        seed=run.seed,
    )
    for name, table in study.tables.items():
        run.table(name, table)
    run.tensors("heatmaps", {" ".join(map(str, place)): values for place, values in study.maps.items()})
    run.tensors("directions", *directions.pack_directions(study.directions))
    errors = study.tables["completeness"]
    run.metrics(tables.completeness_numbers(errors))

    share, worst = errors["error"].lt(WITHIN).mean(), tables.complete(errors).min()
    run.criterion("completeness_below_1_percent", share >= SHARE, share=share, cases=len(errors), worst_target=worst)
    score, answers = study.score_margins(), study.answer_margins()
    run.criterion("score_follows_exact_sensitivity", score.surely(), **score.numbers())
    run.criterion("answers_follow_exact_sensitivity", answers.surely(), **answers.numbers())
    near, slopes = (study.by_energy("jacobians", column) for column in ("cosine", "slope"))
    log_beside_controls(
        run,
        Measure("cosine of ∂answer/∂A to the exact one", near),
        Measure("cosine of ∂score/∂A to the exact one, k = 0", study.by_energy("gradients", "cosine")),
        Measure("|1 − slope| of ∂answer/∂A", {name: abs(1 - v) for name, v in slopes.items()}, higher=False),
    )
    run.metrics({f"answers.cosine.{name}": values.mean() for name, values in near.items()})
    cosine = score.cosine
    run.headline("cosine of ∂score/∂A to the exact one, k=0", cosine.estimate, cosine.low, cosine.high)
    for name, figure, caption in figures.attribution_figures(study, run.params.problems, A.shape[-1]):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
