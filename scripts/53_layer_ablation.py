"""P5-03: what does the network lose with a layer, and do ablations agree on which matters most?

fc1, fc2, fc3 and f are replaced by their mean, by another problem's activations (Chan et al. 2022), by
noise, by what came in, by the best affine map of it, at low rank, without FiLM; in all landscapes and
in one. Lost: the order of energies, the score, the sampled inverse. In a chain a layer taken as a whole
hides everything, whichever it is: what ranks layers takes a part (`ired.instruments.layers.ablation`).
Against a ranking: kinds of ablation that disagree, halves of the problems that do, an untrained network
that ranks its layers alike. Other seeds' models lie not upstream of this: their rankings are the tables
"ranking" of their runs.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P5-03",
    problems=Param(40, tiny=6, paper=60, gpu=100, help="problems that ablations are judged on (test set)"),
    background=Param(800, tiny=180, paper=3000, help="other problems, 3 tokens each: means, fits"),
    averaged=Param(6, tiny=3, help="of these, problems that a mean over problems is taken of"),
    shares=Param((0.0625, 0.25, 0.5), tiny=(0.25,), paper=(0.03125, 0.125, 0.25, 0.5),  # fmt: skip
                 help="of the rank that is kept"),
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
    from functools import partial

    import pandas

    from ired.instruments.accuracy import predictors
    from ired.instruments.layers import (
        ablation,
        ablation_damage as losses,
        ablation_ranking as ranking,
        figures_ablation as figures,
    )
    from ired.instruments.statistics import intervals
    from ired.model import problems, weight_edits
    from ired.model.reference import panel
    from ired.model.sampling import Sampler

    run.gate("SETUP-5")
    size, of, up = run.params, run.params.share, run.upstream("SETUP-2").tensors("problems")
    energies = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    A = up["test.A"][: size.problems].to(run.device)
    others = up["validation.A"][: size.background].to(run.device)
    sampler = Sampler(**run.profile.sampling)
    voting, damage = {kind for kinds in ranking.VOTERS.values() for kind in kinds}, {}
    for name in ("untrained", "trained"):
        states = known = plan = None  # of the other network: each has a gigabyte
        energy, generator = energies[name], problems.generator(run.seed, f"layers, {name}")
        states = ablation.tokens(energy, others, sampler, generator)
        known, at = ablation.habits(energy, others, states), losses.bench(energy, A, sampler, generator)
        change = (partial(make, energy) for make in (weight_edits.without_film, weight_edits.low_rank))
        averaged = others[: size.averaged]
        plan = ablation.plan(energy, A, known, averaged, size.shares, size.draws, *change, generator)
        if name == "untrained":  # its samples are no answers: order and score alone, what ranks alone
            plan = [a for a in plan if a.kind in voting and a.share in (1.0, of) and a.draw == 0]
        with run.progress(len(plan), f"ablations, {name}") as bar:
            damage[name] = losses.judged(plan, at, name == "trained", lambda _: bar.update(1))
    trained, untrained, whole = damage["trained"], damage["untrained"], float(at.mse.mean())
    states = ablation.tokens(energy, A, sampler, generator)
    fits = losses.explained(ablation.unexplained(energy, A, states, known))
    one = losses.judged_alone(energy, plan, size.landscapes, of, at)
    alone = losses.by_landscape(one, ("mse", "rise"))
    summary = losses.summary(trained, at.mse)
    curves = losses.by_landscape(trained, ("order", "score", "noise"))
    agree, places = (ranking.merged({name: make(t, of) for name, t in damage.items()})
                     for make in (ranking.agreements, ranking.table))  # fmt: skip
    for name, table in {
        "effects": trained, "one_landscape": one, "summary": summary, "by_landscape": curves,
        "alone": alone, "agreement": agree, "tops": ranking.tops(trained, "score", of),
        "ranking": places.assign(seed=run.seed, variant=run.variant), "linear_fits": fits,
    }.items():  # fmt: skip
        run.table(name, table)

    own = agree[(agree["network"] == "trained") & (agree["layers"] == 3)].set_index("measure")
    p = {what: intervals.adjust(own[what]) for what in ("p", "halves_p")}
    run.criterion("ranking_agrees_across_ablations", (p["p"] < 0.05).all(), needed=own["needed"].max(),
                  **own["w"].add_prefix("w_"))  # fmt: skip
    run.criterion("ranking_holds_over_halves", (p["halves_p"] < 0.05).all(),
                  **own["halves_tau"].add_prefix("tau_"))  # fmt: skip
    like = {m: ranking.compared(trained, untrained, m, of) for m in ("order", "score")}
    run.criterion("ranking_is_learned", all(found.p >= 0.05 for found in like.values()),
                  needed=like["score"].needed, **{m: found.tau for m, found in like.items()})  # fmt: skip
    linear = summary[summary["kind"] == "linear"].set_index("layer")
    hidden = linear.loc[list(ranking.HIDDEN)]
    run.criterion("every_layer_is_nonlinear", (hidden["rise_low"] > 0).all(), **hidden["rise"])
    idle = pandas.concat([summary[summary["kind"] == "rounding"], linear.loc[["fc4"]]])
    run.criterion("idle_ablation_changes_nothing", (idle["order"] < 0.01).all()
                  and (idle["rise"].abs() < 0.01 * whole).all(), order=idle["order"].max(),
                  rise=idle["rise"].abs().max())  # fmt: skip
    anchors = predictors.fit([(up["validation.A"], problems.inverse(up["validation.A"]))])
    anchors = {name: float(anchors[name].mse(A, at.Y).mean()) for name in ("mean", "least_squares")}
    run.metrics({f"mse.{name}": mse for name, mse in (anchors | {"whole": whole}).items()})
    run.metrics({f"top.{m}": ranking.HIDDEN.index(layer) + 1 for m, layer in own["top"].items()})
    least = hidden.loc[hidden["rise"].idxmin()]
    run.headline(f"rise of the MSE with {least.name} linear", *least[["rise", "rise_low", "rise_high"]])
    votes = {f"by {words}": ranking.damages(trained, m, of) for m, words in figures.SHORT.items()}
    votes["untrained,\nby score"] = ranking.damages(untrained, "score", of)
    words = f"{len(A)} problems; bands are 95 % intervals over problems."
    for name, figure, caption in (
        ("ablations", figures.heatmap(summary, of, whole), f"Means over {len(A)} problems, all "
         "landscapes. Hatched: not defined. Of all units: the layers cannot differ. Sampled MSE of least "
         "squares on A {least_squares:.2g}, of the mean {mean:.2g}.".format(**anchors)),
        ("ranking", figures.ranking(votes), "1: the layer that is missed most. Ranks of mean damages."),
        ("landscapes", figures.landscapes(curves, alone, of, whole), f"{words} Dashed: chance, no score, "
         "whole network. Dotted: nothing of the network in that landscape."),
        ("ranks", figures.rank_curves(summary, whole), words),
        ("linearity", figures.linearity(fits), f"{words} Fitted on {len(others)} other problems."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
