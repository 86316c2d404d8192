"""P4-01: do the answers live where inverses live?

Problems and answers are symmetric positive definite (SPD) matrices. The laws of that geometry are
checked under four metrics (Pennec et al. 2006; Arsigny et al. 2007; Bhatia et al. 2019) on the test
problems. Then how far sampled answers, and each step on the way to them, are from SPD (Higham 1988),
and from the truth in each metric; the control is the truth moved as far in a random direction.
Against the claim that the model knows the manifold: noise of equal size is as often SPD, and as near
to the truth.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P4-01",
    samples=Param(1000, tiny=100, help="test problems that are sampled, every step kept"),
    laws=Param(200, tiny=12, paper=50, help="of them, those that the laws are checked on"),
    draws=Param(16, tiny=4, help="directions of noise beside each answer"),
    fit=Param(40_000, tiny=2000, help="training problems that least squares is fitted on"),
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
    },
)
def main(run):

    import pandas
    import torch

    from ired.instruments.accuracy import predictors
    from ired.instruments.core import states as points, trajectories
    from ired.instruments.geometry import answer_errors, figures, metric_laws, metrics
    from ired.instruments.statistics import intervals
    from ired.model import problems
    from ired.model.reference import panel
    from ired.model.sampling import Sampler

    run.gate("SETUP-5")
    energies = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    model, sampler = energies["trained"], Sampler(**run.profile.sampling)
    A = run.upstream("SETUP-2").tensors("problems")["test.A"][: run.params.samples].to(run.device)
    Y, n = problems.inverse(metrics.check(A, "problem")), run.profile.problem.n
    laws = metric_laws.check(A[: run.params.laws], problems.generator(run.seed, "laws"))
    run.table("laws", metric_laws.columns(laws))
    broken = [str(law) for law in laws if not law.holds]
    run.criterion("laws_hold", not broken, checked=len(laws), broken=len(broken))

    # The sampler's own starts, for the untrained network as well.
    start = points.noise(model, len(A), generator=problems.generator(run.seed, "paths"), like=A)

    walked = {name: trajectories.record(sampler.answers, energies[name], A, start)
              for name in ("trained", "untrained")}  # fmt: skip
    tensors, note = trajectories.pack(walked["trained"])
    run.tensors("paths", tensors | {"A": A}, note)

    shape, source = (run.params.draws, len(A)), problems.generator(run.seed, "noise")
    blur = points.noise(model, *shape, generator=source, like=A).unflatten(-1, (n, n))
    states = {name: path.clean(model) for name, path in walked.items()}
    seen = {name: answer_errors.along(M, Y) for name, M in states.items()}
    seen["noise"] = answer_errors.along(states["trained"], Y, blur[0])
    steps = pandas.concat(pandas.DataFrame(note | found).assign(who=who) for who, found in seen.items())
    run.table("steps", steps)

    source = problems.generator(0, "predictors")
    batch = problems.draw(run.params.fit, n, run.profile.problem.c, source, torch.float64)
    linear = predictors.fit((B, problems.inverse(B)) for B in batch.split(5000))["least_squares"]
    answers = {name: model.coordinates.decode(path.end) for name, path in walked.items()}
    examined = answer_errors.examine(answers | {"least_squares": linear(A)}, Y, blur)
    closeness = pandas.DataFrame(examined.closeness)
    run.table("closeness", closeness)
    run.table("answers", examined.columns())
    run.metrics(examined.numbers())
    own, noise = examined.departures["trained"], examined.noise["trained"]
    sampled = metrics.symmetric(answers["trained"])[torch.as_tensor(own.definite)]
    groups = {"problems": A, "answers": Y} | ({"sampled": sampled} if len(sampled) > 1 else {})
    spectra, means = (pandas.DataFrame(columns) for columns in answer_errors.means(groups))
    run.table("mean_spectra", spectra)
    run.table("means", means)
    run.metrics({f"inversion.{row.group}.{row.metric}": row.inversion
                 for row in means.itertuples() if row.group != "problems"})  # fmt: skip

    share = intervals.proportion_interval(own.definite.sum(), len(A))
    comparable = own.definite.sum() >= 2
    if not comparable:
        print(f"{own.definite.sum()} of {len(A)} sampled answers are positive definite: the others are infinitely "
              "far from every truth, and tie with noise that is too")  # fmt: skip
    run.criterion("samples_are_spd", share.low >= 0.95, share=share.estimate, low=share.low)
    apart = intervals.paired_interval(own.distance, noise.distance.mean(0))
    run.criterion("nearer_to_the_cone_than_noise", apart.high < 0, difference=apart.estimate,
                  high=apart.high)  # fmt: skip
    row = closeness.set_index(["who", "metric"]).loc[("trained", "affine-invariant")]
    run.criterion("closer_than_noise", row["nearer_low"] > 0.5, nearer=row["nearer"])
    if comparable:
        run.headline("nearer to the truth than noise of equal size, affine-invariant",
                     *row[["nearer", "nearer_low", "nearer_high"]])  # fmt: skip
    else:
        run.headline("sampled answers that are positive definite", share.estimate, share.low, share.high)
    for name, figure, caption in (
        ("path", figures.path(steps), f"Every step of sampling {len(A)} problems, read as an answer; means, "
         "95 % intervals. Dashed: the truth with isotropic noise of the size of each trained state's error."),
        ("laws", figures.laws(metric_laws.columns(laws)), f"Largest relative error over {run.params.laws} test "
         "problems; 0 stands at the left end. Hollow: must not hold under that metric."),
        ("means", figures.means(spectra, means), "Karcher means: spectra (with log det of the mean minus mean "
         "log det, over n), and how far means of answers are from the inverse of the mean problem."),
        ("closeness", figures.closeness(closeness), f"Symmetric parts beside {run.params.draws} draws of noise "
         "of equal Frobenius norm each; 95 % intervals over problems. Ratios: where both are definite."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
