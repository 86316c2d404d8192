"""P1-03: how is the energy curved, and does its curvature tell how wrong an answer is?

Exact Hessians at the answers, and at noised answers, of 100 problems stratified by condition number,
in every landscape, in units of the ideal landscape's curvature 1/σ_k. Two rival predictions: a perfect
denoiser has I/σ_k everywhere and knows no conditioning; an energy that is ‖AY − I‖² in disguise has
A² ⊗ I. Which function of A does the curvature follow: A², A, log A or −A⁻¹? The energy of a posterior
has the error bars of its answer in its curvature (second-order Tweedie formula, Meng et al. 2021): are
they as large as the errors, and do they rank problems? Against: an untrained network, the best affine
denoiser or a regression network seen as an energy that agree as well; κ(A), which ranks as well.
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
        "error_bars_calibrated": "at k = 0 the actual squared error of denoised estimates is 0.8 to 1.25 "
        "times the predicted one: the whole 95 % interval of the ratio over problems",
        "error_bars_rank_problems": "at k = 0 the predicted error ranks problems by their actual error "
        "better than κ(A) does: paired 95 % interval of the difference of rank correlations above 0",
        "beyond_controls": "at noised answers of k = 0 the Hessian's traceless part is better aligned with "
        "that of A² ⊗ I than an affine denoiser's and a regression network's: corrected 95 % intervals",
    },
)
def main(run):
    from functools import partial

    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.core import states
    from ired.instruments.landscape import figures, hessian, study, study_curvature
    from ired.instruments.uncertainty import figures as error_bar_figures, study as error_bars
    from ired.model import problems

    run.gate("SETUP-5")
    energies, stream = panel(run), partial(problems.generator, run.seed)
    model = energies["trained"]
    A = run.upstream("SETUP-2").tensors("problems")["test.A"]
    condition = problems.properties(A)["condition_number"]
    A = A[hessian.stratified_by_condition(condition, run.params.points, stream("strata"))].to(run.device)
    y0, landscapes = states.answers(model, A), range(model.schedule.K)
    places = {
        "answer": states.at_answers(model, y0, landscapes),
        "noised": states.at_noise(model, y0, landscapes, stream("hessian")),
    }
    # Error bars are read off the Hessians at noised answers, which are made once.
    readers = error_bars.readers(energies, A, y0, places["noised"], stream)
    with run.progress(len(places) * len(energies), "spectra, energies at two places") as bar:
        table, summary, spectra = study_curvature.curvature_tables(
            energies, A, places, bar.update, readers={("noised", name): reader for name, reader in readers.items()}
        )
    run.table("hessians", table)
    run.table("summary", summary)
    run.tensors("spectra", spectra)
    bars = error_bars.error_bar_tables({name: reader.bars() for name, reader in readers.items()})
    for name, rows in bars.items():
        run.table(f"error_bars_{name}", rows)

    verdicts = study_curvature.curvature_verdicts(table) | error_bars.error_bar_verdicts(bars)
    for name, (met, numbers) in verdicts.items():
        run.criterion(name, met, **numbers)
    beside = study_curvature.curvature_measures(table) | error_bars.error_bar_measures(bars)
    log_beside_controls(run, *(Measure(*measure) for measure in beside.values()))
    run.metrics(study.sharpest_means(beside))
    scale = study_curvature.mean_curvature(table)
    run.headline("mean curvature × σ, k=0", scale.estimate, scale.low, scale.high)
    run.figure(
        "spectra",
        figures.plot_hessian_spectra(spectra),
        f"Eigenvalues of σ_k·Hessian over {len(A)} problems at noised answers: median and middle 90 % "
        "at every rank. Ideal: all 1. Below: the Gauss–Newton and the residual part alone.",
    )
    caption = f"Means over {len(A)} problems with 95 % intervals, at noised answers."
    noised = summary[summary["place"] == "noised"]
    run.figure("curvature", figures.plot_curvature(noised), caption)
    run.figure(
        "curvature_functions",
        figures.plot_curvature_functions(noised),
        f"{caption} Multiples of I are taken out. An energy with one Hessian for all problems has 0 on average.",
    )
    run.figure(
        "error_bars",
        error_bar_figures.plot_error_bars(*(bars[name] for name in ("calibration", "coverage", "ranking"))),
        f"Of {len(A)} problems at noised answers, with 95 % intervals over problems: the covariance (σ²/ᾱ)(I − σH) of "
        "the answer, beside the error of the denoised estimate. Without a positive variance there is no interval.",
    )


if __name__ == "__main__":
    main()
