"""P3-02: are properties of problem and state directions in the layers, and does the energy follow them?

Concept activation vectors (Kim et al. 2018) of six concepts, from pairs of states that differ in one
and are matched on the others: what a property shares with the others is no part of its concept. Handed
on are patterns with confounders partialled out (Haufe et al. 2014), which a planted concept chose;
classifiers' weights stand beside them. TCAV: the share of new problems whose energy gap to the answer
grows along a CAV (the energy itself carries an offset that depends on A alone), and the mean
derivative. Their null are CAVs of the same pairs with labels swapped at random: a permutation test that
holds for any distribution, with enough of them for one of 144 tests to survive correction. Beside them
concept regression (Graziani et al. 2018) and regions (Crabbé & van der Schaar 2022). Against the claim:
random labels do as well, another concept's CAV tells the pairs apart too, or the input and an untrained
network say as much.
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
    },
)
def main(run):
    import numpy as np

    from ired.instruments.concepts import cav, figures
    from ired.instruments.core import directions, states
    from ired.model import problems
    from ired.model.reference import panel

    run.gate("SETUP-5")
    size, found = run.params, {}
    energies = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    model, given = energies["trained"], run.upstream("SETUP-2").tensors("problems")
    A, fresh = (given[name].to(run.device) for name in ("test.A", "validation.A"))
    fresh, y0 = fresh[: size.fresh], states.answers(model, A)
    rng = np.random.default_rng(problems.generator(run.seed, "concepts").initial_seed())
    generator = problems.generator(run.seed, "pairs")
    population = cav.Population.of(A, problems.properties(A), size.folds, rng)
    shown = cav.pairs(model, population, size.pairs, size.caliper, generator)
    many = cav.noisy_pairs(model, population, size.regressed, generator)
    run.table("balance", cav.balance(population, shown))

    # The same states for both networks: comparisons are paired.
    for name, layers in (("trained", (cav.INPUT, *LAYERS)), ("untrained", LAYERS)):
        energy, source = energies[name], problems.generator(run.seed, "slopes")
        slopes = cav.all_slopes(
            energy, fresh, states.answers(model, fresh), size.landscapes, LAYERS, source
        )
        found[name] = cav.study(energy, A, y0, shown, layers, slopes, size.random, rng)
        regression = cav.regress(energy, A, y0, population, many, layers, slopes)
        for what, table in (found[name].tables() | {"regression": regression}).items():
            run.table(what if name == "trained" else f"{what}_untrained", table)
    own, untrained = found["trained"], found["untrained"]
    best, apart, ahead = own.best(), own.told_apart(), own.ahead(untrained)
    regions, handed = cav.regions(model, A, y0, shown, best), own.found()
    tables = {"regions": regions, "told_apart": apart, "ahead": ahead}
    for what, table in (tables | {"directions": directions.table(handed)}).items():
        run.table(what, table)
    run.tensors("directions", *directions.pack(handed))

    for layer in LAYERS:
        seen, other = (one.beyond_random(layer) for one in (own, untrained))
        run.criterion(f"{layer}_concept_above_random", seen["by_score"] + seen["by_mean"] > 0, **seen,
                      **{f"untrained_{what}": value for what, value in other.items()})  # fmt: skip
    count = apart["apart"].sum()
    run.criterion("concepts_are_told_apart", count > len(apart) / 2, apart=count, cavs=len(apart))
    beyond = ahead.pivot(index=["concept", "layer"], columns="of", values="sure")
    both = beyond.all(axis=1).sum()
    run.criterion("more_than_input_and_untrained", both > len(beyond) / 2, both=both, **beyond.sum())
    mean = own.mean_auroc()
    run.headline("held-out AUROC of the CAVs handed on", mean.estimate, mean.low, mean.high)
    for name, figure, caption in (
        ("tcav", figures.scores(own.tcav), f"Share of {len(fresh)} new problems at which the gap of E "
         "to the answer grows along the CAV (partialled pattern)."),
        ("confusion", figures.confusion(own.confusion, best, cav.PRIMARY), "0.5 tells nothing, 0 "
         "the other way round. Landscapes: where the CAV handed on tells its own pairs apart best."),
        ("auroc", figures.readers(own.auroc, untrained.auroc, best, cav.PRIMARY), "Held-out pairs "
         "of matched problems; 95 % intervals over pairs, too narrow near 0.5."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
