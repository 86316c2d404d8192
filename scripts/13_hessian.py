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
    from ired.experiments.controls import panel
    from ired.instruments.core import states
    from ired.instruments.landscape import figures, hessian, study
    from ired.instruments.statistics.intervals import mean_interval, paired_interval
    from ired.instruments.statistics.tables import per_unit
    from ired.model import problems

    run.gate("SETUP-5")
    energies = panel(run, "untrained", "ideal", "algebraic")
    model = energies["trained"]
    A = run.upstream("SETUP-2").tensors("problems")["test.A"]
    condition = problems.properties(A)["condition_number"]
    strata = problems.generator(run.seed, "strata")
    A = A[hessian.stratified_by_condition(condition, run.params.points, strata)].to(run.device)
    y0, landscapes = states.answers(model, A), range(model.schedule.K)
    places = {
        "answer": states.at_answers(model, y0, landscapes),
        "noised": states.at_noise(model, y0, landscapes, problems.generator(run.seed, "hessian")),
    }
    with run.progress(len(places) * len(energies), "spectra, energies at two places") as bar:
        table, summary, spectra = study.curvature_tables(energies, A, places, bar.update)
    run.table("hessians", table)
    run.table("summary", summary)
    run.tensors("spectra", spectra)

    sharpest = table[(table["place"] == "noised") & (table["landscape"] == 0)]
    negative = mean_interval(per_unit(sharpest, "negative_share", energy="trained"))
    run.criterion("curved_upwards_at_noise", negative.high < 0.05, share=negative.estimate)
    nearer = paired_interval(
        per_unit(sharpest, "ideal_distance", energy="trained"), per_unit(sharpest, "ideal_distance", energy="untrained")
    )
    run.criterion("nearer_to_the_ideal_than_untrained", nearer.high < 0, difference=nearer.estimate)
    aligned = mean_interval(per_unit(sharpest, "algebraic_cosine_centred", energy="trained"))
    run.criterion(
        "curvature_knows_the_problem",
        aligned.low > 0,
        cosine=aligned.estimate,
        low=aligned.low,
        untrained=per_unit(sharpest, "algebraic_cosine_centred", energy="untrained").mean(),
    )
    scale = mean_interval(per_unit(sharpest, "ideal_scale", energy="trained"))
    run.headline("mean curvature × σ, k=0", scale.estimate, scale.low, scale.high)
    run.figure(
        "spectra",
        figures.plot_hessian_spectra(spectra),
        f"Eigenvalues of σ_k·Hessian over {len(A)} problems at noised answers: median and middle 90 % "
        "at every rank. Ideal: all 1. Below: the Gauss–Newton and the residual part alone.",
    )
    run.figure(
        "curvature",
        figures.plot_curvature(summary[summary["place"] == "noised"]),
        f"Means over {len(A)} problems with 95 % intervals, at noised answers.",
    )


if __name__ == "__main__":
    main()
