"""P4-02: does the learned energy know the manifold?

The energy along geodesics of four metrics on SPD matrices (Pennec et al. 2006; Arsigny et al. 2007;
Bhatia et al. 2019) from the true inverse towards perturbed inverses, A, I, and the first and the last
positive definite matrix of a sampling path; compared at equal Frobenius distance from the answer, where
the ideal energy is the same along all of them. Midpoint convexity between equal pairs, P1-01's slices
bent by the exponential map, and the Riemannian Hessian's condition (Absil, Mahony & Sepulchre 2008).
Noise soon leaves the cone (table "cone"): displacements are one noise radius of k = 0, or less where
the cone is narrower, and the same matrices are looked at in every landscape. Where states may be
asymmetric, geodesics stay among symmetric matrices all the same. Against the claim: the ideal energy,
which knows nothing of the manifold, an untrained network, or curves that are bent as much elsewhere,
gain as much from it.
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
        "lower_along_geodesics": "at k = 0, on the way to all targets, points of affine-invariant geodesics "
        "lie lower than those of straight lines equally far from the answer in more than half of the cases: "
        "95 % interval over problems above 1/2 (the ideal energy: 1/2), and paired above the untrained "
        "network's and above that of curves bent as much in random directions",
        "better_conditioned_on_manifold": "at the answer of k = 0 the affine-invariant Hessian has a "
        "smaller condition number than the Euclidean one: 95 % interval of the mean log-ratio above 0, and "
        "paired above the untrained network's (a perfect denoiser, being isotropic, has to fail)",
    },
)
def main(run):
    import pandas

    from ired.instruments.core import states, trajectories
    from ired.instruments.geometry import figures_geodesics as figures, metrics, spd_states, study
    from ired.instruments.landscape import slices
    from ired.instruments.statistics.intervals import mean_interval, paired_interval
    from ired.instruments.statistics.tables import per_unit, summarise
    from ired.model import problems
    from ired.model.reference import panel
    from ired.model.sampling import Sampler

    energies = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    model, params, up = energies["trained"], run.params, run.upstream("P4-01")
    stored, source = up.tensors("paths"), problems.generator(run.seed, "geodesics")
    every = metrics.check(stored.pop("A"), "problem").to(run.device)
    A, inverses = every[: params.problems], problems.inverse(every)
    Y = inverses[: params.problems]

    shares = spd_states.inside(model, Y, range(model.schedule.K), 64, source).mean(-1)
    run.table("cone", {"landscape": range(len(shares)), "inside": shares})
    perturbed, reach = spd_states.perturbed(Y, spd_states.noise_radius(model, 0), 2 * params.pairs, source)
    walked = trajectories.unpack(stored, up.meta("paths"))
    goals, numbers = study.targets(model, A, perturbed[:, : params.draws], walked)
    if absent := [kind for kind in ("start", "end") if kind not in goals]:
        print(f"no geodesics to {' and '.join(absent)} of sampling paths: fewer than two paths are positive "
              "definite there")  # fmt: skip
    run.metrics(numbers | {"reach.noise_radii": reach.mean() / spd_states.noise_radius(model, 0)}
                | {f"inside.k{k}": shares[k] for k in LANDSCAPES})  # fmt: skip
    profiles, shapes = study.along(
        energies, A, Y, goals, reach, params.steps, LANDSCAPES, source
    )
    pairs = {"perturbed": perturbed.chunk(2, 1),
             "other answers": study.others(inverses, len(A), params.pairs, source)}  # fmt: skip
    convexity = study.between(energies, A, pairs, LANDSCAPES)
    places = {"answer": Y, "perturbed": perturbed[:, 0]}
    curvature = study.curved(energies, A, places, LANDSCAPES)

    before, sampler = run.upstream("P1-01"), Sampler(**run.profile.sampling)
    known, first = before.tensors("pictures"), every[: int(before.params["slices"])]
    planes = study.planes(
        model, first, states.answers(model, first),
        sampler, problems.generator(run.seed, "slices"),
    )  # fmt: skip
    sheets, pictures, few = [], {}, slice(min(params.sliced, len(first)))
    for plane in planes:
        there = {what: known[f"trained.{plane.kind}.k0.{what}"] for what in ("gap", "line")}
        part = slices.Directions(plane.kind, plane.axes[few], plane.share[few])
        shape, drawn, off = study.redrawn(energies, first[few], inverses[few], part, there)
        run.metrics({f"redrawn.{plane.kind}": off})
        sheets.append(shape)
        pictures |= drawn
    run.tensors("pictures", pictures)
    measures = {  # table, what its cells are, what is averaged
        "profiles": (profiles, ["kind", "view"], ["rise", "lower", "minimum", "position"]),
        "convexity": (convexity, ["kind"], ["share", "bend"]),
        "curvature": (curvature, ["place"],
                      ["log_condition", "negative", "saved", "saved_spread", "gradient"]),
        "slices": (pandas.concat(sheets, ignore_index=True), ["kind"],
                   ["ideal_correlation", "below", "minimum_distance", "fit"]),
    }  # fmt: skip
    means = {}
    for name, (table, cell, what) in measures.items():
        run.table(name, table)
        means[name] = summarise(table, [*cell, "energy", "landscape", "metric"], what)
        run.table(f"{name}_means", means[name])
    run.table("shapes", shapes)

    def seen(table, measure, metric="affine-invariant", **at):
        return {name: per_unit(table, measure, energy=name, metric=metric, **at) for name in energies}

    def decide(name, values, level, *controls):
        own = mean_interval(values["trained"])
        beyond = {c: paired_interval(values["trained"], values[c]) for c in controls}
        run.criterion(name, own.low > level and all(margin.low > 0 for margin in beyond.values()),
                      low=own.low, **{f"beyond_{c}.low": margin.low for c, margin in beyond.items()},
                      **{c: value.mean() for c, value in values.items()})  # fmt: skip
        return own

    geodesic, straight = (seen(convexity, "share", metric) for metric in ("affine-invariant", "Euclidean"))
    more = {name: geodesic[name] - straight[name] for name in energies}
    decide("geodesically_convex_rather_than_euclidean", more, 0, "ideal")
    near = {"view": "near", "landscape": 0}
    turned = {"turned": seen(profiles, "lower", "turned", **near)["trained"]}
    decide("lower_along_geodesics", seen(profiles, "lower", **near) | turned, 0.5, "untrained", "turned")
    saved = seen(curvature, "saved", place="answer", landscape=0)
    own = decide("better_conditioned_on_manifold", saved, 0, "untrained")
    run.headline("log₁₀ of the condition number that the affine-invariant metric saves, k=0",
                 own.estimate, own.low, own.high)  # fmt: skip
    for name, figure, caption in (
        ("profiles", figures.profiles(shapes), f"k = 0; medians and middle halves over {len(A)} problems. "
         "Every metric's points are equally far from the answer, at most one noise radius (reach) but for "
         "the last row. The affine-invariant geodesic to A passes I."),
        ("comparison", figures.comparison(means["profiles"]), "As far as the reach, k = 0; means over "
         "problems, 95 % intervals. Ties count half. ×: bent as much as the affine-invariant one, elsewhere."),
        ("slices", figures.slices(pictures), "Gap to the answer's energy of one problem in P1-01's planes, "
         "trained energy, at equal distance from the answer. Hatched: straight lines have left the cone."),
        ("conditioning", figures.conditioning(means["curvature"]), "Means over problems, 95 % intervals, "
         "k = 0. Known at the answer: ideal 0 and 2 log κ, algebraic 2 log κ and log (κ + 1/κ)/2."),
        ("convexity", figures.convexity(means["convexity"]), f"{params.pairs} pairs of a kind and problem, "
         "the same under all metrics; 95 % intervals over problems. Bend: how far the middle lies below."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
