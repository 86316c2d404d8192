"""P1-03: how is the energy curved?

Exact Hessians at the answers, and at noised answers, of 100 problems stratified by condition number,
in every landscape, in units of the ideal landscape's curvature 1/σ_k. Two rival predictions: a perfect
denoiser has I/σ_k everywhere and knows no conditioning; an energy that is ‖AY − I‖² in disguise has
A² ⊗ I, whose conditioning is that of A squared. Against either: an untrained network that agrees as
well.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P1-03",
    points=Param(100, tiny=12, paper=50, gpu=100, help="problems, stratified by condition number"),
    criteria={
        "curved_upwards_at_noise": "at noised answers of k = 0 less than 5 % of the eigenvalues "
        "are negative: the whole 95 % interval of the mean over problems",
        "nearer_to_the_ideal_than_untrained": "at noised answers of k = 0 the distance of the "
        "Hessian to the best multiple of I is below the untrained network's: paired 95 % interval",
        "curvature_knows_the_problem": "at noised answers of k = 0 the Hessian's traceless part is "
        "aligned with that of A² ⊗ I: 95 % interval of the mean cosine above 0",
    },
)
def main(run):
    import pandas

    from ired.instruments.core import states
    from ired.instruments.landscape import figures, hessian
    from ired.instruments.statistics.intervals import mean_interval, paired_interval
    from ired.instruments.statistics.tables import per_unit, summarise
    from ired.model import problems
    from ired.model.reference import panel

    run.gate("SETUP-5")
    trained = run.upstream("SETUP-3").path("model.safetensors")
    energies = panel(trained, run.seed, run.device)
    model = energies["trained"]
    A = run.upstream("SETUP-2").tensors("problems")["test.A"]
    chosen = hessian.stratified_by_condition(
        problems.properties(A)["condition_number"],
        run.params.points,
        problems.generator(run.seed, "strata"),
    )
    A, landscapes = A[chosen].to(run.device), range(model.schedule.K)
    y0 = states.answers(model, A)
    places = {
        "answer": states.at_answers(model, y0, landscapes),
        "noised": states.at_noise(model, y0, landscapes, problems.generator(run.seed, "hessian")),
    }

    tables, spectra, follows = [], {}, []
    with run.progress(len(places) * len(energies), "spectra, energies at two places") as bar:
        for place, y in places.items():
            for name, energy in energies.items():
                seen = hessian.spectra(energy, A, y, landscapes)
                tables.append(pandas.DataFrame(seen.columns()).assign(energy=name, place=place))
                for part in ("eigenvalues", "gauss_newton", "residual", "symmetric", "antisymmetric"):
                    spectra[f"{name}.{place}.{part}"] = getattr(seen, part).astype("float32")
                correlation = hessian.condition_correlation(seen)
                follows += [
                    (place, name, k, correlation.estimate[k], correlation.low[k], correlation.high[k])
                    for k in landscapes
                ]
                bar.update()
    table = pandas.concat(tables, ignore_index=True)
    table["negative_share"] = table["negative"] / model.coordinates.size
    columns = ["place", "energy", "landscape", "mean", "low", "high"]
    follows = pandas.DataFrame(follows, columns=columns).assign(measure="condition_correlation")
    measures = ["ideal_scale", "ideal_distance", "negative_share", "participation",
                "algebraic_cosine_centred", "algebraic_spearman"]  # fmt: skip
    summary = summarise(table, columns[:3], measures)
    summary = pandas.concat([summary, follows], ignore_index=True)
    run.table("hessians", table)
    run.table("summary", summary)
    run.tensors("spectra", spectra)

    sharpest = {"place": "noised", "landscape": 0}
    seen = {
        (measure, name): per_unit(table, measure, energy=name, **sharpest)
        for measure in measures
        for name in energies
    }
    share = mean_interval(seen["negative_share", "trained"])
    run.criterion("curved_upwards_at_noise", share.high < 0.05, share=share.estimate)
    nearer = paired_interval(*(seen["ideal_distance", n] for n in ("trained", "untrained")))
    run.criterion(
        "nearer_to_the_ideal_than_untrained", nearer.high < 0, difference=nearer.estimate
    )
    aligned = mean_interval(seen["algebraic_cosine_centred", "trained"])
    run.criterion(
        "curvature_knows_the_problem", aligned.low > 0, cosine=aligned.estimate, low=aligned.low,
        untrained=seen["algebraic_cosine_centred", "untrained"].mean(),
    )  # fmt: skip
    scale = mean_interval(seen["ideal_scale", "trained"])
    run.headline("mean curvature × σ, k=0", scale.estimate, scale.low, scale.high)
    run.figure(
        "spectra",
        figures.spectra(spectra),
        f"Eigenvalues of σ_k·Hessian over {len(A)} problems at noised answers: median and middle 90 % "
        "at every rank. Ideal: all 1. Below: the Gauss–Newton and the residual part alone.",
    )
    run.figure(
        "curvature",
        figures.curvature(summary[summary["place"] == "noised"]),
        f"Means over {len(A)} problems with 95 % intervals, at noised answers.",
    )


if __name__ == "__main__":
    main()
