"""P5-01: what can be read off each layer by an affine map, and is that the network's doing?

Ridge probes (Alain & Bengio 2016) of the input, fc1, fc2, fc3 and f in every landscape, at noised
answers, where the score is used (one state a problem): for condition number, smallest eigenvalue
(logs), log-determinant, trace, the state's distance to the answer, whether sampling will succeed (error
below the median), and the entries of the true inverse. Nested cross-validation over problems. Beside
them: labels of other problems and random functions of the problem (control tasks, Hewitt & Liang
2019), untrained networks, entries of A, of [A, A²] and of both with the state (which itself tells of
the inverse), what properties say beyond each other, logistic probes of success, description lengths
(Voita & Titov 2020). Two controls more: the layers of a regression network, which see A alone, each with
the state beside it, and [A, y], of which all that an affine denoiser computes is an affine map. Against
the claim: the input, an untrained network or the regression network is read as well.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P5-01",
    problems=Param(1000, tiny=120, paper=6000, gpu=10_000, help="test problems, each with one state a landscape"),
    folds=Param(5, tiny=3, help="outer folds; those of a training part serve as the inner ones"),
    untrained=Param(3, tiny=2, help="untrained networks; all but the first are read in fc3 alone"),
    described=Param((0,), gpu=(0, 4, 9), help="landscapes of logistic probes and codes, beside 0"),
    criteria={
        "rises_with_depth_beyond_controls": "for more than half of the 7 properties R² at fc3, mean "
        "over landscapes, is above that at fc1, of the untrained fc3, of [A, y] and of [A, A², y]: "
        "paired one-sided t-tests over problems, all four, Benjamini-Hochberg over properties",
        "inverse_is_linear_somewhere": "some layer in some landscape gives the entries of the inverse "
        "with larger R² than [A, A², y]: paired 95 % interval above 0, Bonferroni over all cells",
        "selective": "for more than half of the properties R² at fc3, mean over landscapes, is above "
        "that of a random function of the problem with the same values: tests as above",
        "success_is_foreseen": "at k = 0 the logistic probe of fc3 has an AUROC above ½, and less "
        "log-loss than that of [A, A², y] (95 % intervals)",
        "beyond_controls": "R² at fc3, mean over the 6 properties that a problem has and over landscapes, "
        "exceeds that of [A, y], all that an affine denoiser holds, and that of the regression network's "
        "third layer with the state beside it: paired 95 % intervals above 0, Bonferroni over both",
    },
)
def main(run):
    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.core import states
    from ired.instruments.probing import figures, study
    from ired.model import problems
    from ired.model.reference import untrained_networks
    from ired.model.sampling import AnnealedSampler

    run.gate("SETUP-5")
    energies = panel(run, "untrained", "regression")
    further = untrained_networks(energies["trained"], run.seed, run.params.untrained)
    model, generator = energies["trained"], problems.generator(run.seed, "probes")
    A = run.upstream("SETUP-2").tensors("problems")["test.A"][: run.params.problems].to(run.device)
    y0, landscapes = states.answers(model, A), range(model.schedule.K)
    y = states.at_noise(model, y0, landscapes, generator)

    # What is asked for, and where: one noised answer of each problem in every landscape.
    start = states.noise(model, len(A), generator=generator, like=A)
    errors = (AnnealedSampler(**run.profile.sampling).answers(model, A, start) - y0).pow(2).mean(-1)
    properties = study.asked_for(problems.properties(A), A, y0, errors)
    probes = study.ProbeStudy.of(
        energies=energies,
        plain={"regression": energies["regression"].predict.layers},
        untrained={name: network for name, network in further.items() if name not in energies},
        A=A,
        y0=y0,
        properties=properties,
        folds=run.params.folds,
        generator=generator,
    )
    with run.progress(len(landscapes), "landscapes") as bar:
        for k in landscapes:
            probes.read(y[k], k, describe=k in (0, *run.params.described))
            bar.update(1)

    tables = probes.tables()
    for name, table in tables.items():
        run.table(name, table)
    for name, (met, numbers) in study.probe_verdicts(probes, tables).items():
        run.criterion(name, met, **numbers)
    gain = probes.gain_over_given()
    run.headline("R², fc3 − [A, A², y]", gain.estimate, gain.low, gain.high)
    run.metrics(study.probe_metrics(tables["r2"], tables["untrained_networks"]))
    log_beside_controls(
        run,
        Measure("R² at fc3 of what a problem has, mean", probes.beside(study.OF_PROBLEM)),
        Measure("R² at fc3 of log λ_min", probes.beside(["smallest_eigenvalue"])),
        Measure("R² at fc3 of the inverse's entries", probes.beside(["inverse"])),
        Measure("R² at fc3 of the distance to the answer", probes.beside(["distance"])),
        Measure("bits of success unforeseen by fc3, k = 0", probes.bits(), higher=False),
        difference=probes.scores.margin,
    )
    for name, figure, caption in figures.probing_figures(tables):
        run.figure(name, figure, f"{caption} {len(A)} problems, one state each; intervals: 95 %.")


if __name__ == "__main__":
    main()
