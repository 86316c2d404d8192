"""P3-05: do the directions that were found cause what they go with?

What was seen in P3-04 is compared, direction by direction, with random directions of equal norm
(sign-flip tests over problems, corrected over directions; each single draw has to be beaten too). For
directions that are to carry a property, on problems of this experiment's own: is the property lost
when the coordinate is ablated, does it go over when the coordinate is taken from a twin problem that
differs in this property only (natural indirect effect: Pearl 2001; Vig et al. 2020, arXiv 2004.12265), and
do other properties stay? Against the claim that directions are causes: random directions of the same
space, or of its covariance, do as much. Affine or regression energies are no control here: concepts' directions live in
layers that a state passes through, of which they have none (P3-04 pushes directions of the state on them). The rule of
the verdicts stands in `ired.instruments.interventions.verdicts`.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P3-05",
    problems=Param(40, tiny=16, help="problems that directions are moved along and ablated on"),
    pairs=Param(40, tiny=16, help="pairs of problems that differ in one property"),
    pool=Param(400, tiny=120, help="problems that these are taken from"),
    draws=Param(8, tiny=4, help="random directions of each kind beside each direction"),
    criteria={
        "directions_are_causal": "more than half of the directions change the sampled answer more than "
        "their random controls: sign flips over problems, Benjamini-Hochberg over directions, and more "
        "than each single draw (if not, the finding is that they are not causal)",
        "some_concept_mediates": "for at least one concept direction the share of the total effect "
        "that it mediates has a 95 % interval above 0 and exceeds random directions, isotropic ones and "
        "ones of the covariance: sign flips over pairs, Benjamini-Hochberg over directions, and each draw",
        "specific": "of the concept directions whose property grows beyond random, more than half change "
        "it by more standard deviations than any other property: 95 % interval above 0",
    },
)
def main(run):
    import pandas
    import torch

    from ired.experiments.earlier_results import directions_of_run
    from ired.instruments.interventions import counterfactuals, figures_causality as figures, study
    from ired.instruments.interventions.verdicts import VERDICTS
    from ired.instruments.statistics.intervals import proportion_interval
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import AnnealedSampler

    energy = load_energy(run.upstream("SETUP-3").path("model.safetensors"), run.device)
    pushed, size, n, c = run.upstream("P3-04"), run.params, run.profile.problem.n, run.profile.problem.c
    directions = directions_of_run(run, "P3-04")
    known = pushed.table("directions")
    spreads = known.set_index("name")["spread"]
    generator = problems.generator(run.seed, "causality")
    pool = problems.draw(size.pool, n, c, generator, torch.float64)
    run.dataset(f"causality n={n}", problems.problem_digest(pool), "fresh", "ired.model.problems.draw")

    pairs = {concept: counterfactuals.problem_pairs(pool, concept, size.pairs) for concept in counterfactuals.MOVED}
    apart = pandas.concat(
        [pandas.DataFrame(counterfactuals.differences(pool, made)) for made in pairs.values()], ignore_index=True
    )
    A = pool[: size.problems].to(run.device, torch.float32)
    sampler = AnnealedSampler(**run.profile.sampling)
    bench = study.InterventionBench.of(energy, sampler, A, pairs=pairs, draws=size.draws, generator=generator)
    concepts, examined = [direction for direction in directions if direction.concept], []
    with run.progress(len(concepts), "concept directions") as bar:
        for direction in concepts:
            examined.append(study.examine_direction(bench, direction, spreads[direction.name], generator))
            bar.update()
    table = study.verdict_table(known, pushed.table("responses"), examined)
    run.table("verdicts", table)
    run.table("counterfactuals", apart)
    run.table("pairs", pandas.concat([pandas.DataFrame(made.columns()) for made in pairs.values()]))

    beyond, mediates = table["moved_beyond"], table["mediates"]
    share = proportion_interval(beyond.sum(), len(table))
    by_chance = table["moved_placebo"].fillna(1).mean()
    met = share.estimate > 0.5
    run.criterion("directions_are_causal", met, beyond=beyond.sum(), of=len(table), of_random=by_chance)
    run.headline("share of directions beyond random", share.estimate, share.low, share.high)
    numbers = {"of": table["mediated"].count(), "of_covariance": table["mediated_placebo"].sum()}
    run.criterion("some_concept_mediates", mediates.any(), mediating=mediates.sum(), **numbers)
    causal = table[table["carried_beyond"]]
    specific = causal["is_specific"].sum()
    run.criterion("specific", 2 * specific > len(causal), specific=specific, of=len(causal))
    run.metrics({f"verdict.{name.replace(',', '')}": (table["verdict"] == name).sum() for name in VERDICTS})
    run.metrics({f"beyond.{source}": rows.mean() for source, rows in beyond.groupby(table["source"])})
    run.metrics({name: table[name].sum() for name in ("necessary", "mediates", "sufficient")})
    drawn = {
        "verdicts": figures.plot_verdicts(table),
        "mediation": figures.plot_mediation(table),
        "counterfactuals": figures.plot_counterfactuals(apart),
    }
    for name, figure in drawn.items():
        run.figure(name, figure, figures.CAPTIONS[name].format(directions=len(table), pairs=size.pairs))


if __name__ == "__main__":
    main()
