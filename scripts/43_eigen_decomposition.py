"""P4-03: are the answers' eigenvalues wrong, or their eigenvectors?

Errors and gradients are split in the true inverse's eigenbasis (first-order perturbation theory;
Stewart and Sun 1990, V.2): the score at noised answers, the answer after each step of sampling, ∇E on
the way. For errors of any size, true and sampled halves are exchanged. A and its inverse share their
eigenvectors: least squares errs in eigenvalues only; an eigenvector part does not commute with A.
Against the claim that a model knows eigenvalues before eigenvectors: an error split as isotropic noise
is, or as its trace alone makes it; an A-blind score, an untrained network, that are split alike.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P4-03",
    controls=Param(200, tiny=30, help="problems noised, sampled untrained, and where ∇E is seen"),
    draws=Param(16, tiny=4, help="noised answers of each problem in each landscape"),
    tolerances=Param((1e-8, 1e-3, 1e-2, 0.1), help="relative gaps below which eigenvalues are one"),
    fit=Param(40_000, tiny=2000, help="training problems that least squares is fitted on"),
    criteria={
        "eigenvalues_first": "the error's eigenvalue part halves, counted from the first denoised "
        "estimate, in fewer steps than its eigenvector part: paired 95 % interval below 0",
        "spectrum_before_directions": "the eigenvalues' squared error is below half that of the mean "
        "spectrum sooner than the eigenvectors' below half random ones': paired 95 % interval below 0",
        "not_isotropic": "the eigenvalue share of the final error differs from isotropic noise's, "
        "2/(n+1), and from the same errors' in random eigenbases: paired 95 % intervals",
        "gradient_sees_eigenvalues": "at noised answers of k = 0 the score error's eigenvalue share is "
        "below that of the best A-blind score: paired 95 % interval below 0",
        "largest_dominates": "more than half of the final squared error lies in the row and column of "
        "the inverse's largest eigenvalue (A's smallest): 95 % interval of the mean above 1/2",
        "first_order_holds": "the eigenvalue share of the final error and that of the exchanged halves "
        "differ by less than 0.05: 95 % interval of the mean absolute difference",
    },
)  # fmt: skip
def main(run):
    import torch

    from ired.instruments.accuracy import predictors
    from ired.instruments.core import states as points, trajectories
    from ired.instruments.geometry import eigen_split, eigen_study, figures_eigen_split as figures
    from ired.instruments.statistics import intervals
    from ired.model import problems
    from ired.model.reference import panel
    from ired.model.sampling import Sampler

    energies = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    model, sampler = energies["trained"], Sampler(**run.profile.sampling)
    up, params = run.upstream("P4-01"), run.params
    A = (kept := up.tensors("paths"))["A"].to(run.device)
    walked = trajectories.unpack(kept, up.meta("paths"))
    Y, few = problems.inverse(A), min(params.controls, len(A))
    frame, y0 = eigen_split.Frame.of(Y, params.tolerances[0]), points.answers(model, A)
    some, level = frame.first(few), points.array(frame.isotropic).mean()
    source, problem = problems.generator(0, "predictors"), run.profile.problem
    batch = problems.draw(params.fit, problem.n, problem.c, source, torch.float64)
    linear = predictors.fit([(batch, problems.inverse(batch))])
    known = {name: linear[name](A) for name in ("least_squares", "mean")}
    taken = model.coordinates.encode(known["least_squares"][:few])
    scores = {name: eigen_split.of_energy(energy, A[:few]) for name, energy in energies.items()}
    scores["least_squares"] = eigen_split.of_answers(model, taken)
    source, place = problems.generator(run.seed, "eigenparts"), (some, y0[:few])
    noised, landscapes = eigen_study.scores(model, scores, *place, params.draws, source, sampler.clip)

    # The untrained network walks from the same starts; its ∇E is seen at the trained one's states.
    states, stops, fresh = walked.y[:, :few].to(A), walked.landscape, energies["untrained"]
    blank = trajectories.record(sampler, fresh, A[:few], states[0])
    ways = {"trained": eigen_study.Walk.of(walked.clean(model).to(A), frame, Y),
            "untrained": eigen_study.Walk.of(blank.clean(model), some, Y[:few])}  # fmt: skip
    aims = {who: eigen_split.aim(energies[who], A[:few], *place, states, stops) for who in ways}
    curves = eigen_study.curves(ways, aims, stops)

    answers = {"trained": model.coordinates.decode(walked.end.to(A))} | known
    answers["untrained"] = blank.clean(model)[-1]
    ends = eigen_study.finals(answers, frame, Y, problems.generator(run.seed, "random eigenvectors"))
    for name, table in {
        "noised": noised, "landscapes": landscapes, "curves": curves, "steps": ways["trained"].table(),
        "halving": ways["trained"].halving(), "answers": ends.table, "ranks": ends.ranks,
        "condition": ends.strata,
        "tolerances": eigen_study.joined(answers["trained"] - Y, Y, params.tolerances),
    }.items():  # fmt: skip
        run.table(name, table)
    run.tensors("profiles", ends.profiles)

    for name, (met, numbers) in eigen_study.verdicts(ways["trained"], ends.table, noised).items():
        run.criterion(name, met, **numbers)
    share = intervals.mean_interval(ends.table.loc[ends.table["who"] == "trained", "share"])
    run.headline("eigenvalue share of the final error", share.estimate, share.low, share.high)
    run.metrics(eigen_study.means(ends))
    for name, figure, caption in (
        ("steps", figures.over_steps(curves, level), f"{len(A)} problems (untrained, ∇E: {few}), 95 % "
         "intervals. An answer that has not seen A is a multiple of I and errs in eigenvalues only."),
        ("landscapes", figures.over_landscapes(landscapes, level), f"{few} problems, {params.draws} "
         "noised answers each, 95 % intervals. Least squares: as if its answer were the truth."),
        ("ranks", figures.ranks(ends.profiles, ends.ranks), "Above: mean share of the squared error in "
         "each entry of UᵀDU, by isotropic noise's. Below: 95 % intervals over problems."),
        ("condition", figures.condition(ends.strata, level), "Quarters of problems; ρ: Spearman's."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
