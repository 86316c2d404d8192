"""P4-03: are the answers' eigenvalues wrong, or their eigenvectors?

Errors and gradients are split in the true inverse's eigenbasis (first-order perturbation theory;
Stewart and Sun 1990, V.2): the score at noised answers, the answer after each step of sampling, ∇E on
the way. For errors of any size, true and sampled halves are exchanged. A and its inverse share their
eigenvectors: least squares errs in eigenvalues only; an eigenvector part does not commute with A.
Against the claim that a model knows eigenvalues before eigenvectors: an error split as isotropic noise
is, or as its trace alone makes it; an A-blind score, an untrained network, least squares or a regression network
(as energies, which have their answer at once) that are split alike.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P4-03",
    controls=Param(200, tiny=30, help="problems noised, sampled untrained, and where ∇E is seen"),
    draws=Param(16, tiny=4, help="noised answers of each problem in each landscape"),
    tolerances=Param((1e-8, 1e-3, 1e-2, 0.1), help="relative gaps below which eigenvalues are one"),
    fit=Param(40_000, tiny=2000, help="training problems that the mean answer is taken over"),
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
        "beyond_controls": "the share of the final squared error in the row and column of the inverse's "
        "largest eigenvalue exceeds that of the affine denoiser and of the regression network: paired "
        "95 % intervals above 0, Bonferroni over both",
    },
)
def main(run):
    from ired.experiments.controls import CONTROLS, Measure, log_beside_controls, panel
    from ired.instruments.core import states, trajectories
    from ired.instruments.eigen_decomposition import eigen_split, figures, study
    from ired.instruments.statistics import intervals
    from ired.model import problems
    from ired.model.sampling import AnnealedSampler

    energies = panel(run)
    model, sampler, params = energies["trained"], AnnealedSampler(**run.profile.sampling), run.params
    up = run.upstream("P4-01")
    stored = up.tensors("paths")
    A, walked = stored["A"].to(run.device), trajectories.unpack_paths(stored, up.meta("paths"))
    Y, y0, few = problems.inverse(A), states.answers(model, A), min(params.controls, len(A))
    frame = eigen_split.Frame.of(Y, params.tolerances[0])
    first, level = frame.first(few), states.array(frame.isotropic).mean()

    # The score at noised answers.
    scores = {name: eigen_split.score_of_energy(energy, A[:few]) for name, energy in energies.items()}
    generator = problems.generator(run.seed, "eigenparts")
    noised, landscapes = study.score_parts(model, scores, first, y0[:few], params.draws, generator, sampler.clip)

    # On the way, all from the same starts; their ∇E is seen at the trained one's states.
    y, starts = walked.y[:, :few].to(A), walked.y[0].to(A)
    walks, answers = study.walk_others(energies, sampler, A[:few], y[0], first, Y[:few])
    walks = {"trained": study.Walk.of(walked.clean(model).to(A), frame, Y)} | walks
    aims = {who: eigen_split.aim(energies[who], A[:few], first, y0[:few], y, walked.landscape) for who in walks}
    curves = study.walk_curves(walks, aims, walked.landscape)

    # The final answers.
    answers |= {who: model.coordinates.decode(sampler.answers(energies[who], A, starts)) for who in CONTROLS}
    batch = problems.draw(params.fit, A.shape[-1], run.profile.problem.c, problems.generator(0, "predictors"), A.dtype)
    mean = problems.inverse(batch).mean(0).to(A).expand_as(A)
    answers = {"trained": model.coordinates.decode(walked.end.to(A)), "mean": mean} | answers
    ends = study.finals(answers, frame, Y, problems.generator(run.seed, "random eigenvectors"))
    tolerances = study.shares_by_tolerance(answers["trained"] - Y, Y, params.tolerances)

    tables = {"noised": noised, "landscapes": landscapes, "curves": curves, "tolerances": tolerances}
    for name, table in (tables | walks["trained"].tables() | ends.tables()).items():
        run.table(name, table)
    run.tensors("profiles", ends.profiles)
    for criterion, (met, numbers) in study.eigen_verdicts(walks["trained"], ends.table, noised).items():
        run.criterion(criterion, met, **numbers)
    measured = study.eigen_measures(walks, ends.table, noised)
    log_beside_controls(run, *(Measure(title, values) for title, values in measured.items()))
    share = intervals.mean_interval(ends.table.loc[ends.table["who"] == "trained", "share"])
    run.headline("eigenvalue share of the final error", share.estimate, share.low, share.high)
    run.metrics(study.eigen_metrics(ends) | {f"later.{who}": -by.mean() for who, by in measured[study.SOONER].items()})
    counts = {"problems": len(A), "controls": few, "draws": params.draws}
    for name, (figure, caption) in figures.eigen_figures(curves, landscapes, ends, level, counts).items():
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
