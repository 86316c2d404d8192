"""P5-01: what can be read off each layer by an affine map, and is that the network's doing?

Ridge probes (Alain & Bengio 2016) of the input, fc1, fc2, fc3 and f in every landscape, at noised
answers, where the score is used (one state a problem): for condition number, smallest eigenvalue
(logs), log-determinant, trace, the state's distance to the answer, whether sampling will succeed (error
below the median), and the entries of the true inverse. Nested cross-validation over problems. Beside
them: labels of other problems and random functions of the problem (control tasks, Hewitt & Liang
2019), an untrained network, entries of A, of [A, A²] and of both with the state (which itself tells of
the inverse), what properties say beyond each other, logistic probes of success, description lengths
(Voita & Titov 2020). Against the claim: the input or an untrained network is read as well.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P5-01",
    problems=Param(1000, tiny=120, paper=6000, gpu=10_000,
                   help="test problems, each with one state a landscape"),
    folds=Param(5, tiny=3, help="outer folds; those of a training part serve as the inner ones"),
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
    },
)
def main(run):
    from ired.instruments.core import states as points
    from ired.instruments.probing import figures, ridge, scores as probe_scores
    from ired.instruments.probing.study import Study
    from ired.model import problems
    from ired.model.reference import panel
    from ired.model.sampling import Sampler

    run.gate("SETUP-5")
    energies = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    energies = {name: energies[name] for name in ("trained", "untrained")}
    model, generator = energies["trained"], problems.generator(run.seed, "probes")
    A = run.upstream("SETUP-2").tensors("problems")["test.A"][: run.params.problems].to(run.device)
    y0, landscapes = points.answers(model, A), range(model.schedule.K)
    states = points.at_noise(model, y0, landscapes, generator)

    start = points.noise(model, len(A), generator=generator, like=A)
    found = Sampler(**run.profile.sampling).answers(model, A, start)
    missed = (found - y0).pow(2).mean(-1)
    known = problems.properties(A)
    known |= {name: known[name].log() for name in ("condition_number", "smallest_eigenvalue")}
    entries = y0 @ points.symmetric_basis(A.shape[-1], y0).mT  # each once, in raw coordinates too
    known |= {"success": missed < missed.median(), "inverse": entries}

    study = Study.of(energies, A, y0, known, run.params.folds, generator)
    with run.progress(len(landscapes), "landscapes") as bar:
        for k in landscapes:
            study.look(states[k], k, describe=k in (0, *run.params.described))
            bar.update(1)
    scores, tables = study.scores, study.tables()
    rises = probe_scores.rises(scores, ridge.PROPERTIES)
    ahead = probe_scores.ahead(scores, ridge.LAYERS)
    tables |= {"r2": scores.table(), "rises": rises, "ahead": ahead}
    for name, table in tables.items():
        run.table(name, table)

    run.criterion("rises_with_depth_beyond_controls", rises["beyond"].mean() > 0.5, of=len(rises),
                  beyond=rises["beyond"].sum(), **{f"above_{what}": (rises[f"{what}_low"] > 0).sum()
                                                   for what in probe_scores.AGAINST})  # fmt: skip
    most = ahead.loc[ahead["given_low"].idxmax()]
    run.criterion("inverse_is_linear_somewhere", most["given_low"] > 0, gain=most["given"],
                  low=most["given_low"], landscape=most["landscape"], cells=(ahead["given_low"] > 0).sum(),
                  above_untrained=(ahead["untrained_low"] > 0).sum())  # fmt: skip
    run.criterion("selective", rises["selective"].mean() > 0.5, selective=rises["selective"].sum())
    area, fewer = study.foreseen(("trained", "fc3", 0), ("input", ridge.GIVEN, 0))
    run.criterion("success_is_foreseen", area.low > 0.5 and fewer.low > 0, auroc=area.estimate,
                  low=area.low, fewer_bits=fewer.estimate, fewer_bits_low=fewer.low)  # fmt: skip
    gain, _ = scores.ahead(*(scores.mean(*way, ridge.PROPERTIES)
                             for way in (("trained", "fc3"), ("input", ridge.GIVEN))))  # fmt: skip
    run.headline("R², fc3 − [A, A², y]", gain.estimate, gain.low, gain.high)
    whole = tables["r2"].query("landscape < 0 and task == 'property'").replace("A, A², y", "given")
    whole = whole[(whole["source"] == "trained") | (whole["layer"] == "given")]
    run.metrics({f"r2.{row.layer}.{row.property}": row.r2 for row in whole.itertuples()})
    for name, figure, caption in (
        ("depth", figures.depth(tables["r2"]), "Out-of-fold R², means over landscapes."),
        ("inverse", figures.inverse(tables["r2"], ahead), "All entries together. Framed: interval of "
         "the difference above 0, Bonferroni over cells."),
        ("gains", figures.gains(rises), "Means over landscapes. ✓: above the first four, corrected."),
        ("success", figures.success(tables["success"]), "Hollow: labels of other problems."),
        ("data", figures.data(tables["curves"]), "Bits saved per number on the next problems."),
    ):  # fmt: skip
        run.figure(name, figure, f"{caption} {len(A)} problems, one state each; intervals: 95 %.")


if __name__ == "__main__":
    main()
