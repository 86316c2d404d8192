"""P3-02: are properties of problem and state directions in the layers, and does the energy follow them?

Concept activation vectors (Kim et al. 2018) of six concepts, from pairs of states that differ in one and are matched
on the others: what a property shares with the others is no part of its concept. Handed on are patterns with
confounders partialled out (Haufe et al. 2014), which a planted concept chose; classifiers' weights stand beside them.
TCAV: the share of new problems whose energy gap to the answer grows along a CAV (the energy itself carries an offset
that depends on A alone), and the mean derivative. Their null are CAVs of the same pairs with labels swapped at
random: a permutation test that holds for any distribution, with enough of them for one of 144 tests to survive
correction. Beside them concept regression (Graziani et al. 2018) and regions (Crabbé & van der Schaar 2022). Against
the claim: random labels do as well, another concept's CAV tells the pairs apart too, or the input, an untrained
network, a regression network's layers or an affine map's answer say as much. TCAV has no such controls: no state passes
through their layers.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

LAYERS = ("fc1", "fc2", "fc3")
BEYOND = (
    "along some concept's CAV the energy gap's TCAV score, or the mean derivative behind it, "
    "is beyond random CAVs': two-sided, 5 % after correction over both, concepts, layers, landscapes"
)


@command(
    "P3-02",
    landscapes=Param((0, 2, 5, 9), tiny=(0, 5), help="landscapes that are looked at"),
    pairs=Param(500, tiny=100, paper=1000, help="matched pairs of each concept, at most"),
    caliper=Param(0.3, tiny=0.6, help="distance of matched confounders in deviations, at most"),
    folds=Param(4, tiny=2, help="folds of problems, an even number"),
    regressed=Param(1000, tiny=100, paper=2000, gpu=4000, help="problems that degrees are regressed on"),
    fresh=Param(400, tiny=100, help="new problems that derivatives are averaged over"),
    random=Param(5999, tiny=2999, help="random CAVs for each CAV"),
    criteria={
        **{f"{layer}_concept_above_random": BEYOND for layer in LAYERS},
        "concepts_are_told_apart": "most of the CAVs handed on (one for a concept and layer) tell "
        "their own held-out pairs apart better than any other concept's: 95 % intervals do not meet",
        "more_than_input_and_untrained": "for most of them the classifier's held-out AUROC is above "
        "that on the raw input and that on an untrained network: paired intervals, Bonferroni",
        "beyond_controls": "the classifiers' held-out AUROC, mean of the layers and of all pairs that show a "
        "property of the problem, exceeds that on the affine denoiser's answer beside the state and that on the "
        "regression network's layers: paired 95 % intervals over pairs above 0, Bonferroni over both",
    },
)
def main(run):
    from functools import partial

    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.experiments.layered_controls import layered_controls
    from ired.instruments.concepts import figures
    from ired.instruments.concepts.study import compare_concepts
    from ired.instruments.core import directions
    from ired.model import problems

    run.gate("SETUP-5")
    stored = run.upstream("SETUP-2").tensors("problems")
    A, fresh = (stored[name].to(run.device) for name in ("test.A", "validation.A"))
    fresh = fresh[: run.params.fresh]
    energies = panel(run, "untrained", "affine", "regression")
    concepts = compare_concepts(
        energies,
        A=A,
        properties=problems.properties(A),
        fresh=fresh,
        layers=LAYERS,
        size=run.params,
        stream=partial(problems.generator, run.seed),
        controls=layered_controls(energies),
    )
    trained, untrained, tables = concepts.trained, concepts.untrained, concepts.tables
    for name, table in tables.items():
        run.table(name, table)
    run.tensors("directions", *directions.pack_directions(concepts.directions))

    for layer in LAYERS:
        beyond, by_chance = (study.beyond_random(layer) for study in (trained, untrained))
        numbers = beyond | {f"untrained_{what}": value for what, value in by_chance.items()}
        run.criterion(f"{layer}_concept_above_random", beyond["by_score"] + beyond["by_mean"] > 0, **numbers)
    apart = tables["told_apart"]["apart"]
    run.criterion("concepts_are_told_apart", apart.sum() > len(apart) / 2, apart=apart.sum(), cavs=len(apart))
    ahead = tables["ahead"].pivot(index=["concept", "layer"], columns="of", values="sure")
    both = ahead.all(axis=1).sum()
    run.criterion("more_than_input_and_untrained", both > len(ahead) / 2, both=both, **ahead.sum())
    title = "held-out AUROC of classifiers, properties of the problem"
    log_beside_controls(run, Measure(title, concepts.of_problems))
    run.metrics({f"auroc.{name}": values.mean() for name, values in concepts.of_problems.items()})
    mean = trained.mean_auroc()
    run.headline("held-out AUROC of the CAVs handed on", mean.estimate, mean.low, mean.high)
    for name, figure, caption in figures.concept_figures(concepts, len(fresh)):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
