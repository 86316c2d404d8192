"""P4-04: how far would the answers have to be carried?

Optimal transport (Peyré and Cuturi 2019; POT), three times. From sampled answers to true ones of
other problems: spectra, principal axes, Gaussians, under two ground costs. Between the clouds that
sampling leaves each landscape with: is the way straight? Does transport rank an answer's energy better
than L2, spectral or geodesic distance? Against it: null, untrained network, ideal energy (all L2).
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
    },
)
def main(run):
    from math import prod

    from ired.instruments.core import states, trajectories
    from ired.instruments.transport import (
        annealing,
        answer_clouds as answers,
        distances,
        energy_ranking as ranking,
        figures,
    )
    from ired.model import problems
    from ired.model.reference import panel
    from ired.model.sampling import Sampler

    params, up, sampler = run.params, run.upstream("P4-01"), Sampler(**run.profile.sampling)
    energies = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    model, stored = energies["trained"], up.tensors("paths")
    A, walked = stored["A"], {"trained": trajectories.unpack(stored, up.meta("paths"))}
    stream = problems.generator(run.seed, "transport")
    some = A[: max(params.clouds, params.particles)].to(run.device)
    start = states.noise(model, len(some), generator=stream, like=some)

    def true(*shape):
        drawn = problems.draw(prod(shape), A.shape[-1], run.profile.problem.c, stream, A.dtype)
        return problems.inverse(drawn).unflatten(0, shape)

    for name in ("untrained", "ideal"):
        walked[name] = trajectories.record(sampler.answers, energies[name], some, start)
    decode, count = model.coordinates.decode, params.clouds
    clouds = {name: decode(path.end[:count].cpu()) for name, path in walked.items()}
    truths, fit, draws = true(count), true(params.fit), true(params.draws, count)
    tables = answers.study(clouds, truths, fit, draws, params.axes)
    seen = tables["answers"].set_index(["answers", "cost", "measure"]).loc["trained"]
    run.metrics({".".join(at).replace(",", ""): ratio for at, ratio in seen["ratio"].items()})
    far = seen.loc[(answers.EUCLIDEAN, "principal axes")]
    run.criterion("sampled_differs_from_true", far.distance > far.high, **far[["distance", "high", "p"]])
    encoded, y0 = model.coordinates.to_basis(model.coordinates.encode(fit)), states.answers(model, A)
    axes = distances.principal_axes(encoded, params.axes)
    ways = annealing.examine(model, walked, y0, axes, params.blocks, params.particles)
    tables |= {"straightness": annealing.table(ways), "steps": annealing.step_table(ways)}
    run.tensors("matrices", {".".join(key): way.matrix for key, way in ways.items()})
    own = tables["straightness"].set_index(["answers", "scale"]).loc[("trained", "clean")]
    run.criterion("path_is_straight", own["low"] > 0.9, **own[["blocks", "low", "optimality"]])

    chosen, K = A[: params.problems].to(run.device), model.schedule.K
    made = ranking.candidates(problems.inverse(chosen), params.each, stream)
    found = ranking.study(energies, chosen, made, (0, K // 3, 2 * K // 3), params.pairs, stream)
    best, margins = ranking.margins(found, "Bures-Wasserstein", "trained")
    tables |= {"correlations": found, "summary": ranking.condense(found), "margins": margins}
    low = margins.set_index("over")["low"]
    run.criterion("transport_explains_energy_best", low.min() > 0,
                  **{f"margin_over_{name}.low": value for name, value in low.items()})  # fmt: skip
    run.metrics({"asymmetry": answers.asymmetry(clouds["trained"]),
                 "not_definite": 1 - answers.definite(clouds["trained"]).mean(),
                 "noised_not_definite": 1 - made.definite[:, made.kind == 0].mean()})  # fmt: skip
    run.headline("rank correlation of energy and Bures cost, k=0", best.estimate, best.low, best.high)
    for name, table in tables.items():
        run.table(name, table)
    for name, figure, caption in (
        ("answers", figures.answers(tables["answers"]), "Filled: beyond the null's middle 95 %."),
        ("spectra", figures.spectra(tables["ranks"], tables["entropy"]), "W2 of eigenvalues by rank."),
        ("matrices", figures.matrices(ways), f"W2 along {params.axes} principal axes. Black: next to none."),
        ("path", figures.path(tables["steps"], tables["straightness"]), "95 % intervals over blocks."),
        ("correlations", figures.correlations(tables["summary"]), "Means over problems, 95 % intervals; all "
         "kinds of candidates, noised states. *: transport. The ideal energy is a function of L2."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
