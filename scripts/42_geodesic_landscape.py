"""P4-02: does the learned energy know the manifold?

The energy along geodesics of four metrics on SPD matrices (Pennec et al. 2006; Arsigny et al. 2007; Bhatia et al.
2019) from the true inverse towards perturbed inverses, A, I, and the first and the last positive definite matrix of
a sampling path; compared at equal Frobenius distance from the answer, where the ideal energy is the same along all
of them. Midpoint convexity between equal pairs, P1-01's slices bent by the exponential map, and the Riemannian
Hessian's condition (Absil, Mahony & Sepulchre 2008). Noise soon leaves the cone (table "cone"): displacements are
one noise radius of k = 0, or less where the cone is narrower, and the same matrices are looked at in every
landscape; geodesics stay among symmetric matrices. Against the claim: the ideal energy, which knows nothing of the
manifold, an untrained network, the bowls around least squares and a regression network, or curves that are bent as
much elsewhere, gain as much.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

LANDSCAPES = (0, 2, 4)


@command(
    "P4-02",
    problems=Param(40, tiny=12, help="test problems, the first of P4-01's"),
    draws=Param(4, tiny=2, help="perturbed inverses of each that geodesics lead to"),
    pairs=Param(32, tiny=8, help="pairs of SPD matrices of each kind for midpoint convexity"),
    steps=Param(25, tiny=9, help="points of a profile"),
    sliced=Param(16, tiny=4, help="of P1-01's problems, those whose slices are redrawn"),
    criteria={
        "geodesically_convex_rather_than_euclidean": "midpoint convexity holds for more pairs along "
        "affine-invariant geodesics than along straight lines between them (kinds of pairs and landscapes "
        "averaged): paired 95 % interval above 0, and that of the excess over the ideal energy's too",
        "lower_along_geodesics": "at k = 0, on the way to all targets, points of affine-invariant geodesics lie lower "
        "than those of straight lines equally far from the answer in more than half of the cases: 95 % interval over "
        "problems above 1/2 (the ideal energy: 1/2), and paired above the untrained network's and above that of curves "
        "bent as much in random directions",
        "better_conditioned_on_manifold": "at the answer of k = 0 the affine-invariant Hessian has a smaller condition "
        "number than the Euclidean one: 95 % interval of the mean log-ratio above 0, and paired above the untrained "
        "network's (a perfect denoiser, being isotropic, has to fail)",
        "beyond_controls": "what that metric saves of the condition number there exceeds what it saves the "
        "affine denoiser and the regression network: paired 95 % intervals above 0, Bonferroni over both",
    },
)
def main(run):
    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.core import states, trajectories
    from ired.instruments.geometry import figures_geodesics as figures, metrics, spd_states, study
    from ired.model import problems
    from ired.model.sampling import AnnealedSampler

    # What is given: a model and its controls, the problems of P4-01 and its sampling paths.
    energies = panel(run)
    model, params, generator = energies["trained"], run.params, problems.generator(run.seed, "geodesics")
    stored = run.upstream("P4-01").tensors("paths")
    all_A = metrics.require_spd(stored.pop("A"), "problem").to(run.device)
    all_Y = problems.inverse(all_A)
    A, Y = all_A[: params.problems], all_Y[: params.problems]
    walked = trajectories.unpack_paths(stored, run.upstream("P4-01").meta("paths"))

    # Where the cone is narrower than the noise, and what geodesics from the answers Y lead to.
    inside = spd_states.share_inside_cone(model, Y, range(model.schedule.K), 64, generator).mean(-1)
    run.table("cone", {"landscape": range(len(inside)), "inside": inside})
    radius = spd_states.symmetric_noise_radius(model, 0)
    perturbed, reach = spd_states.perturbed(Y, radius, 2 * params.pairs, generator)
    targets, counts = study.geodesic_targets(model, A, perturbed[:, : params.draws], walked)
    if absent := [kind for kind in ("start", "end") if kind not in targets]:
        print(f"no geodesics to {' and '.join(absent)} of sampling paths: fewer than two are positive definite there")
    run.metrics(counts | {"reach.noise_radii": reach.mean() / radius} | {f"inside.k{k}": inside[k] for k in LANDSCAPES})

    # The energies along these geodesics, at the middle of pairs, and to second order at points.
    profiles, shapes = study.geodesic_profiles(energies, A, Y, targets, reach, params.steps, LANDSCAPES, generator)
    pairs = {"perturbed": perturbed.chunk(2, 1), "other answers": study.others(all_Y, len(A), params.pairs, generator)}
    convexity = study.pair_convexity(energies, A, pairs, LANDSCAPES)
    curvature = study.curved(energies, A, {"answer": Y, "perturbed": perturbed[:, 0]}, LANDSCAPES)

    # P1-01's slices in the same planes, straight and bent by the exponential map.
    before, sampler = run.upstream("P1-01"), AnnealedSampler(**run.profile.sampling)
    first = all_A[: int(before.params["slices"])]
    source, few = problems.generator(run.seed, "slices"), min(params.sliced, len(first))
    planes = study.planes(model, first, states.answers(model, first), sampler, source)
    pictures = before.tensors("pictures")
    slices, pictures, differences = study.all_redrawn(energies, first[:few], all_Y[:few], planes, pictures)
    run.metrics({f"redrawn.{kind}": difference for kind, difference in differences.items()})

    # What is kept, and what it decides.
    tables = {"profiles": profiles, "convexity": convexity, "curvature": curvature, "slices": slices}
    means = {name: study.table_means(name, table) for name, table in tables.items()}
    for name, table in (tables | {f"{of}_means": mean for of, mean in means.items()} | {"shapes": shapes}).items():
        run.table(name, table)
    run.tensors("pictures", pictures)
    measured = study.manifold_measures(profiles, convexity, curvature)
    for criterion, (met, numbers) in study.geodesic_verdicts(measured, profiles).items():
        run.criterion(criterion, met, **numbers)
    log_beside_controls(run, *(Measure(title, values) for title, values in measured.items()))
    run.headline(*study.geodesic_headline(measured))
    shown = figures.geodesic_figures(shapes, means, pictures, problems=len(A), pairs=params.pairs)
    for name, (figure, caption) in shown.items():
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
