"""P4-04: how far would the answers have to be carried?

Optimal transport (Peyré and Cuturi 2019; POT), three times. From sampled answers to true ones of
other problems: spectra, principal axes, Gaussians, under two ground costs. Between the clouds that
sampling leaves each landscape with: is the way straight? Does transport rank an answer's energy better
than L2, spectral or geodesic distance? Against it: null, untrained network, ideal energy (all L2); least squares and
a regression network, whose energies are bowls, and whose clouds stand from the first landscape on.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P4-04",
    clouds=Param(300, tiny=40, help="answers held against true ones (at most 1000)"),
    draws=Param(99, tiny=19, help="clouds of true answers that make the null"),
    fit=Param(1000, tiny=100, help="true answers that axes and Karcher mean are fitted on"),
    axes=Param(3, help="principal axes"),
    particles=Param(400, tiny=40, help="particles of a transport matrix, and of every control"),
    blocks=Param(10, tiny=5, help="disjoint blocks of problems, for the interval of straightness"),
    problems=Param(150, tiny=12, help="problems whose candidate answers are ranked"),
    each=Param(16, tiny=8, help="candidates of each kind"),
    pairs=Param(4, tiny=2, help="noises ±ε that energies are averaged over"),
    criteria={
        "sampled_differs_from_true": "along the principal axes (Euclidean, exact) sampled answers lie "
        "farther from true ones than the upper end of the same-distribution null's middle 95 %",
        "path_is_straight": "on the clean scale W2 from first to last station is more than 90 % of the "
        "summed steps: lower end of the 95 % interval over blocks of problems",
        "transport_explains_energy_best": "at noised candidates of k = 0 Bures–Wasserstein correlates "
        "more with the energy than L2, spectral norm, geodesic distance: paired 95 % intervals above 0",
        "beyond_controls": "by how much Bures–Wasserstein correlates more with the energy than L2 there exceeds "
        "that of the affine denoiser and of the regression network: paired 95 % intervals above 0, Bonferroni "
        "over both",
    },
)
def main(run):
    from math import prod

    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.core import states, trajectories
    from ired.instruments.transport import annealing, answer_clouds, energy_ranking, figures, study
    from ired.model import problems
    from ired.model.sampling import AnnealedSampler

    params, upstream, sampler = run.params, run.upstream("P4-01"), AnnealedSampler(**run.profile.sampling)
    energies = panel(run)
    model, stored = energies["trained"], upstream.tensors("paths")
    A, generator = stored["A"], problems.generator(run.seed, "transport")

    def true_answers(*shape):
        """Of further problems, (*shape, n, n)."""
        drawn = problems.draw(prod(shape), A.shape[-1], run.profile.problem.c, generator, A.dtype)
        return problems.inverse(drawn).unflatten(0, shape)

    # Sampling paths: the model's are those of P4-01, its controls start anew.
    walked = {"trained": trajectories.unpack_paths(stored, upstream.meta("paths"))}
    sampled = A[: max(params.clouds, params.particles)].to(run.device)
    start = states.noise(model, len(sampled), generator=generator, like=sampled)
    for name in ("untrained", "ideal", "affine", "regression"):
        walked[name] = trajectories.record(sampler.answers, energies[name], sampled, start)

    # Clouds of answers beside true ones, and the way that led to them.
    clouds = {name: model.coordinates.decode(path.end[: params.clouds].cpu()) for name, path in walked.items()}
    truths, fit = true_answers(params.clouds), true_answers(params.fit)
    null = true_answers(params.draws, params.clouds)
    tables = answer_clouds.answer_cloud_tables(clouds, truths, fit, null, params.axes)
    ways = study.anneal(
        model, walked, A, further=fit, axes=params.axes, blocks=params.blocks, particles=params.particles
    )
    tables |= {"straightness": annealing.straightness_table(ways), "steps": annealing.step_table(ways)}

    # Energies of candidate answers, ranked against their distances to the truth.
    ranked, K = A[: params.problems].to(run.device), model.schedule.K
    made = energy_ranking.candidates(problems.inverse(ranked), params.each, generator)
    correlations = energy_ranking.correlate_energies(
        energies, ranked, made, landscapes=(0, K // 3, 2 * K // 3), pairs=params.pairs, generator=generator
    )
    best, margins = energy_ranking.margins(correlations, "Bures-Wasserstein", "trained")
    summary = energy_ranking.condense(correlations)
    tables |= {"correlations": correlations, "summary": summary, "margins": margins}

    for name, table in tables.items():
        run.table(name, table)
    run.tensors("matrices", {".".join(key): way.matrix for key, way in ways.items()})
    for name, (met, numbers) in study.transport_verdicts(tables).items():
        run.criterion(name, met, **numbers)
    measured = study.transport_measures(correlations, ways)
    log_beside_controls(run, *(Measure(title, values) for title, values in measured.items()))
    run.metrics(study.transport_metrics(tables["answers"], clouds["trained"], made, measured))
    run.headline("rank correlation of energy and Bures cost, k=0", best.estimate, best.low, best.high)
    for name, figure, caption in figures.transport_figures(tables, ways, params.axes):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
