"""P3-05: do the directions that were found cause what they go with?

What was seen in P3-04 is compared, direction by direction, with random directions of equal norm
(sign-flip tests over problems, corrected over directions; each single draw has to be beaten too). For
directions that are to carry a property, on problems of this experiment's own: is the property lost
when the coordinate is ablated, does it go over when the coordinate is taken from a twin problem that
differs in this property only (natural indirect effect: Pearl 2001; Vig et al. 2020, arXiv 2004.12265), and
do other properties stay? Against the claim that directions are causes: random directions of the same
space, or of its covariance, do as much. The rule of the verdicts stands in `ired.instruments.interventions.mediation`.
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

    from ired.instruments.core.directions import unpack
    from ired.instruments.interventions import counterfactuals, figures_causality as figures, mediation
    from ired.instruments.statistics import intervals
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import Sampler

    energy = load_energy(run.upstream("SETUP-3").path("model.safetensors"), run.device)
    up, params, n = run.upstream("P3-04"), run.params, run.profile.problem.n
    found = unpack(up.tensors("directions"), up.meta("directions"))
    known, responses = up.table("directions"), up.table("responses")
    spreads = known.set_index("name")["spread"]
    generator = problems.generator(run.seed, "causality")
    pool = problems.draw(params.pool, n, run.profile.problem.c, generator, torch.float64)
    run.dataset(f"causality n={n}", problems.digest(pool), "fresh", "ired.model.problems.draw")
    sampler = Sampler(**run.profile.sampling)

    made = {c: counterfactuals.pairs(pool, c, params.pairs) for c in counterfactuals.MOVED}
    apart = [pandas.DataFrame(counterfactuals.differences(pool, pairs)) for pairs in made.values()]
    A = pool[: params.problems].to(run.device, torch.float32)
    bench = mediation.Bench.of(energy, sampler, A, made, params.draws, generator)
    concepts, examined = [d for d in found if d.concept], []
    with run.progress(len(concepts), "concept directions") as bar:
        for direction in concepts:
            examined.append(mediation.examine(bench, direction, spreads[direction.name], generator))
            bar.update(1)
    every, named = ([d.name for d in some] for some in (found, concepts))
    measures = {"moved": every, "carried": named, "mse": every}
    effects = [mediation.effects(responses, names, what) for what, names in measures.items()]
    table = mediation.verdicts(known, *effects, pandas.DataFrame(examined))
    run.table("verdicts", table)
    run.table("counterfactuals", pandas.concat(apart, ignore_index=True))
    run.table("pairs", pandas.concat([pandas.DataFrame(p.columns()) for p in made.values()]))

    beyond = table["moved_beyond"]
    share = intervals.proportion_interval(beyond.sum(), len(table))
    run.criterion("directions_are_causal", share.estimate > 0.5, beyond=beyond.sum(), of=len(table),
                  of_random=table["moved_placebo"].fillna(1).mean())  # fmt: skip
    run.headline("share of directions beyond random", share.estimate, share.low, share.high)
    run.criterion("some_concept_mediates", table["mediates"].any(), mediating=table["mediates"].sum(),
                  of=table["mediated"].count(), of_covariance=table["mediated_placebo"].sum())  # fmt: skip
    causal = table[table["carried_beyond"]]
    run.criterion("specific", 2 * causal["is_specific"].sum() > len(causal),
                  specific=causal["is_specific"].sum(), of=len(causal))  # fmt: skip
    counts = {verdict: (table["verdict"] == verdict).sum() for verdict in mediation.VERDICTS}
    run.metrics({f"verdict.{name.replace(',', '')}": count for name, count in counts.items()})
    run.metrics({f"beyond.{source}": rows.mean() for source, rows in beyond.groupby(table["source"])})
    run.metrics({name: table[name].sum() for name in ("necessary", "mediates", "sufficient")})
    for name, figure, caption in (
        ("verdicts", figures.verdicts(table), f"{len(table)} directions; 95 % intervals over problems. "
         "Filled: beyond random directions by the rule of the instrument."),
        ("mediation", figures.mediation(table), "Share of a property's total effect on the answer, "
         f"{params.pairs} pairs that differ in it, 95 % bootstrap intervals. Missing: directions whose "
         "property does not surely differ. Negative, of states: what the layer undoes."),
        ("counterfactuals", figures.counterfactuals(pandas.concat(apart)), "Mean change within pairs, in "
         "standard deviations of the problems drawn. Framed: what was moved; hatched: what was held."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
