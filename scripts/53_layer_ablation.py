"""P5-03: what does the network lose with a layer, and do ablations agree on which matters most?

fc1, fc2, fc3 and f are replaced by their mean, by another problem's activations (Chan et al. 2022), by
noise, by what came in, by the best affine map of it, at low rank, without FiLM; in all landscapes and
in one. Lost: the order of energies, the score, the sampled inverse. In a chain a layer taken as a whole
hides everything, whichever it is: what ranks layers takes a part (`ired.instruments.layers.ablation`).
Against a ranking: kinds of ablation that disagree, halves of the problems that do, an untrained network
that ranks its layers alike. Beside linear layers stands what a regression network loses with one; its
layers see A alone and have no FiLM, so rankings have no such control. An affine denoiser loses nothing.
Other seeds' models lie not upstream of this: their rankings are the tables "ranking" of their runs.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P5-03",
    problems=Param(40, tiny=6, paper=60, gpu=100, help="problems that ablations are judged on (test set)"),
    background=Param(800, tiny=180, paper=3000, help="other problems, 3 tokens each: means, fits"),
    averaged=Param(6, tiny=3, help="of these, problems that a mean over problems is taken of"),
    shares=Param((0.0625, 0.25, 0.5), tiny=(0.25,), paper=(0.03125, 0.125, 0.25, 0.5), help="of the rank that is kept"),
    share=Param(0.25, help="the one of them that ranks layers"),
    draws=Param(2, tiny=1, help="random halves of a layer's units"),
    landscapes=Param((0, 1, 3, 5, 9), tiny=(0,), help="in which layers are ablated alone"),
    criteria={
        "ranking_agrees_across_ablations": "of order, score and sampled error each, five kinds of "
        "ablation rank fc1, fc2, fc3 alike: Kendall's W beyond chance, exact permutations, 5 % after "
        "Benjamini-Hochberg over the three measures",
        "ranking_holds_over_halves": "for each of the measures two halves of the problems rank the "
        "layers alike: mean Kendall's tau over kinds, same test and correction",
        "ranking_is_learned": "an untrained network's ranking is not like the trained one's, by order "
        "or score: mean tau not beyond chance for either (if not, the ranking is the architecture's)",
        "every_layer_is_nonlinear": "the best affine map of its input in place of fc1, fc2, fc3 makes "
        "the sampled error larger: paired 95 % interval above 0 for each of them",
        "idle_ablation_changes_nothing": "disturbed within float32's rounding, or f by its own affine "
        "map: fewer than 1 % of pairs change order, the error changes by less than 1 %, in every layer",
    },
)
def main(run):
    from ired.experiments.controls import CONTROLS, Measure, fresh_problems, log_beside_controls, panel
    from ired.instruments.layers import figures_ablation as figures, study_ablation as study
    from ired.model import problems, weight_edits
    from ired.model.sampling import AnnealedSampler

    run.gate("SETUP-5")
    size, sets = run.params, run.upstream("SETUP-2").tensors("problems")
    energies = panel(run, "untrained", *CONTROLS)
    A, validation = sets["test.A"][: size.problems].to(run.device), sets["validation.A"].to(run.device)
    background = validation[: size.background]
    generators = {name: problems.generator(run.seed, f"layers, {name}") for name in ("untrained", "trained")}

    def prepared(name):
        """All ablations of a network: a gigabyte each at the published size, so one after the other."""
        return study.prepare(
            energies[name],
            A,
            background,
            averaged=size.averaged,
            sampler=AnnealedSampler(**run.profile.sampling),
            shares=size.shares,
            draws=size.draws,
            without_film=weight_edits.without_film,
            low_rank=weight_edits.low_rank,
            generator=generators[name],
        )

    def judged(name, ablations, sampling):
        with run.progress(len(ablations.plan), f"ablations, {name}") as bar:
            return ablations.judged(sampling, bar.update)

    # An untrained network's samples are no answers: order and score alone, of what ranks alone.
    damage = {"untrained": judged("untrained", prepared("untrained").voting(size.share), sampling=False)}
    ablations = prepared("trained")
    damage["trained"] = judged("trained", ablations, sampling=True)

    tables = study.ablation_tables(
        ablations, damage, landscapes=size.landscapes, share=size.share, generator=generators["trained"]
    )
    tables["ranking"] = tables["ranking"].assign(seed=run.seed, variant=run.variant)
    for name, table in tables.items():
        run.table(name, table)
    anchors = study.anchors((validation, problems.inverse(validation)), ablations.bench)
    verdicts = study.ablation_verdicts(tables, study.network_likeness(damage, size.share), anchors["whole"])
    for name, (met, numbers) in verdicts.items():
        run.criterion(name, met, **numbers)
    run.metrics(study.ablation_metrics(tables["agreement"], anchors))
    fitted_on = fresh_problems(run, 10 * run.profile.model.hidden, "linear layers")
    regression, affine = energies["regression"].predict, energies["affine"].predict
    added = study.linear_beside(damage["trained"], ablations.bench, regression, affine, fitted_on)
    run.metrics({f"regression.{what}": by_energy["regression"].mean() for what, by_energy in added.items()})
    whole = Measure("squared error of the answers", added.pop("whole"), higher=False)
    added = [Measure(f"MSE added by a linear {layer}", by_energy) for layer, by_energy in added.items()]
    log_beside_controls(run, *added, whole, decides=False)
    layer, rise = study.least_missed(tables["summary"])
    run.headline(f"rise of the MSE with {layer} linear", *rise)
    votes = study.votes(damage, size.share)
    for name, figure, caption in figures.ablation_figures(
        tables, votes, anchors, share=size.share, problems=len(A), background=len(background)
    ):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
