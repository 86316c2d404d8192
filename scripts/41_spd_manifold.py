"""P4-01: do the answers live where inverses live?

Problems and answers are symmetric positive definite (SPD) matrices. The laws of that geometry are
checked under four metrics (Pennec et al. 2006; Arsigny et al. 2007; Bhatia et al. 2019) on the test
problems. Then how far sampled answers, and each step on the way to them, are from SPD (Higham 1988),
and from the truth in each metric; the control is the truth moved as far in a random direction.
Against the claim that the model knows the manifold: noise of equal size is as often SPD, and as near
to the truth; or the answers of least squares and of a regression network beat their noise as clearly. (The
ideal energy's answers are the truth: there is nothing to measure.)
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P4-01",
    samples=Param(1000, tiny=100, help="test problems that are sampled, every step kept"),
    laws=Param(200, tiny=12, paper=50, help="of them, those that the laws are checked on"),
    draws=Param(16, tiny=4, help="directions of noise beside each answer"),
    criteria={
        "laws_hold": "every law of every metric holds within its tolerance (1e-8 relative), and those that "
        "must not hold under a metric are broken by more than 1e-3",
        "samples_are_spd": "at least 95 % of the sampled answers have a positive definite symmetric part: "
        "lower end of the exact 95 % interval; asymmetry is a number of its own",
        "nearer_to_the_cone_than_noise": "sampled answers lie nearer to the nearest positive semidefinite "
        "matrix (relative to their norm) than the truth with isotropic noise of equal Frobenius norm: "
        "paired 95 % interval of the difference below 0",
        "closer_than_noise": "in affine-invariant distance to the truth the sampled answer is nearer than "
        "noise of equal Frobenius norm in more than half of the pairs: 95 % interval over problems above "
        "1/2; what is not positive definite is infinitely far and loses, two such tie",
        "beyond_controls": "the share of noise of equal size that an answer is nearer to the truth than, in "
        "affine-invariant distance, exceeds that of the affine denoiser and of the regression network: "
        "paired 95 % intervals above 0, Bonferroni over both",
    },
)
def main(run):
    import pandas

    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.core import states, trajectories
    from ired.instruments.geometry import answer_errors, figures, metric_laws, metrics
    from ired.model import problems
    from ired.model.sampling import AnnealedSampler

    run.gate("SETUP-5")
    energies = panel(run, "untrained", "algebraic", "affine", "regression")
    model, sampler, params = energies["trained"], AnnealedSampler(**run.profile.sampling), run.params
    A = run.upstream("SETUP-2").tensors("problems")["test.A"][: params.samples].to(run.device)
    Y = problems.inverse(metrics.require_spd(A, "problem"))
    laws = metric_laws.spd_laws(A[: params.laws], problems.generator(run.seed, "laws"))
    run.table("laws", metric_laws.law_columns(laws))
    broken = [law for law in laws if not law.holds]
    run.criterion("laws_hold", not broken, checked=len(laws), broken=len(broken))

    # Every step of sampling, from the same starts for every energy, beside noise.
    start = states.noise(model, len(A), generator=problems.generator(run.seed, "paths"), like=A)
    generator = problems.generator(run.seed, "noise")
    noise = states.noise(model, params.draws, len(A), generator=generator, like=A).unflatten(-1, A.shape[-2:])
    walked = answer_errors.walk_all(energies, sampler.answers, A, start, truth=Y, epsilon=noise[0])
    tensors, note = trajectories.pack_paths(walked.trained)
    run.tensors("paths", tensors | {"A": A}, note)
    run.table("steps", walked.steps)

    # The answers.
    examined = answer_errors.examine_answers(walked.answers, Y, noise)
    closeness = pandas.DataFrame(examined.closeness)
    run.table("closeness", closeness)
    run.table("answers", examined.columns())
    run.metrics(examined.numbers())

    # Means of the problems, of their answers, and of the sampled ones, where these have means.
    groups = answer_errors.groups(A, Y, walked.answers["trained"])
    if "sampled" not in groups:
        print(
            f"fewer than two of {len(A)} sampled answers are positive definite: the others are infinitely far from "
            "every truth, and tie with noise that is too"
        )
    spectra, means = (pandas.DataFrame(columns) for columns in answer_errors.karcher_means(groups))
    run.table("mean_spectra", spectra)
    run.table("means", means)
    inverted = means[means["group"] != "problems"].itertuples()
    run.metrics({f"inversion.{row.group}.{row.metric}": row.inversion for row in inverted})

    for criterion, (met, numbers) in answer_errors.spd_verdicts(examined).items():
        run.criterion(criterion, met, **numbers)
    log_beside_controls(run, *(Measure(title, values) for title, values in examined.by_problem().items()))
    run.headline(*answer_errors.spd_headline(examined))
    counts = {"problems": len(A), "laws": params.laws, "draws": params.draws}
    shown = figures.spd_figures(walked.steps, metric_laws.law_columns(laws), spectra, means, closeness, counts)
    for name, (figure, caption) in shown.items():
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
