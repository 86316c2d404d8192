"""P2-07: do sparse features follow properties of the matrix better than neurons do?

Every unit of every layer against condition number, trace, norm, log-determinant, smallest eigenvalue
and effective rank of its problem, and against landscape and error of a token: Spearman's ρ on held-out
problems, corrected over all tests (Benjamini-Hochberg), with a permutation null of each kind's maximum.
The problem is the unit: matrix properties meet a unit's mean over the problem's tokens, token
properties its activation at one token drawn from each problem. Error grows with the landscape's noise,
so it counts at equal landscape only. Neurons, principal components, a random dictionary and one whose
encoder alone was trained are treated alike; the best unit of each kind is chosen on one half of the
problems and measured on the other. Ridge regression says what all units know together, beside the
input's own entries and an untrained network. Against the claim: the best neuron follows as well.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

LAYERS = {"fc1": "P2-02", "fc2": "P2-03", "fc3": "P2-04"}
AHEAD = (
    "for a property (error: at equal landscape) the feature chosen on either half of the problems "
    "survives correction, and its held-out ρ is above the chosen neuron's: paired 95 % interval, "
    "Bonferroni over properties"
)


@command(
    "P2-07",
    permutations=Param(300, tiny=100, help="permutations of the problems"),
    criteria={
        "some_feature_survives": "some SAE feature correlates with a property (error: at equal "
        "landscape) at 5 % after correction over all tests of all layers and kinds",
        **{f"{layer}_says_more_than_neurons": AHEAD for layer in LAYERS},
    },
)
def main(run):
    import numpy as np
    import pandas
    import torch

    from ired.instruments.dictionaries import (
        dictionary,
        figures_property_correlation as figures,
        property_correlation,
    )
    from ired.instruments.dictionaries.activations import Shards
    from ired.instruments.statistics import intervals
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.reference import controls

    source, model, split = run.upstream("P2-01"), run.upstream("SETUP-3"), "held_out"
    shards = Shards.of(source.json("index"), source.tensors, model.run_id)
    columns, A = shards.columns(split), source.tensors("problems")[f"{split}.A"]
    moments, trained = source.tensors("moments"), model.path("model.safetensors")
    fresh = controls(load_energy(trained, "cpu", torch.float32), run.seed)["untrained"]
    generator = problems.generator(run.seed, "correlation")
    rng = np.random.default_rng(generator.initial_seed())

    token = property_correlation.one_token_each(columns["problem"], rng)
    values = problems.properties(A) | {"effective_rank": property_correlation.effective_rank(A)}
    drawn = (columns[name][token] for name in ("distance", "landscape", "kind"))
    properties = property_correlation.problem_properties({name: values[name] for name in property_correlation.MATRIX})
    properties += property_correlation.token_properties(*drawn)
    inputs = property_correlation.inputs(A, columns["y"][token])
    reached = property_correlation.predictability(inputs, properties, run.seed)

    tests, best, ridge, chosen = [], [], [], {}
    for layer, dictionaries in LAYERS.items():
        up = run.upstream(dictionaries)
        packed = up.tensors("dictionaries"), up.meta("dictionaries")
        own = dictionary.studied(up.json("chosen"), packed, model.run_id)
        frozen = dictionary.Dictionary.unpack("frozen", *packed)
        of_layer = (moments[f"{layer}.{what}"] for what in ("mean", "covariance"))
        kinds = property_correlation.encoders(own, frozen, *of_layer, generator)
        held = shards.activations(split, layer)
        units = property_correlation.gather(kinds, held, columns["problem"], token)
        other = property_correlation.activations_of(fresh, A, columns, layer)
        control = property_correlation.gather({"untrained": lambda x: x}, other, columns["problem"], token)
        found = [property_correlation.correlate(u, properties, rng, run.params.permutations) for u in units]
        tests += [f.table().assign(layer=layer) for f in found]
        best += [f.best().assign(layer=layer) for f in found]
        chosen[layer] = property_correlation.select(units, properties, run.seed)
        rows = property_correlation.predictability([*units, *control], properties, run.seed)
        ridge.append(pandas.concat([rows, reached]).assign(layer=layer))
    tests, best, ridge = (pandas.concat(t, ignore_index=True) for t in (tests, best, ridge))
    tests["p_adjusted"] = intervals.adjust(tests["p"])
    selected = pandas.concat([
        property_correlation.decided(chosen[layer].table(), rows).assign(layer=layer)
        for layer, rows in tests.groupby("layer", sort=False)
    ], ignore_index=True)  # fmt: skip
    tables = {"correlations": tests, "best": best, "selected": selected, "ridge": ridge,
              "confounded": property_correlation.between(properties)}  # fmt: skip
    for name, table in tables.items():
        run.table(name, table)

    fair = tests[~tests["property"].isin(property_correlation.CONFOUNDED) & (tests["kind"] == "sae")]
    count = (fair["p_adjusted"] < 0.05).sum()
    run.criterion("some_feature_survives", count > 0, surviving=count, tests=len(fair))
    for layer in LAYERS:
        rows = selected.query("layer == @layer and kind == 'neuron' and fair")
        most = rows.loc[rows["ahead_low"].idxmax()]
        run.criterion(f"{layer}_says_more_than_neurons", rows["beaten"].any(),
                      properties=rows["beaten"].sum(), ahead=most.ahead, low=most.ahead_low)  # fmt: skip
    gain = property_correlation.mean_advantage(chosen.values(), "sae", "neuron")
    run.headline("held-out ρ, feature − neuron", gain.estimate, gain.low, gain.high)
    for name, figure, caption in (
        ("best", figures.best_correlations(best), "Largest |ρ| over the units of each kind; below it, "
         "what the largest stays under by chance (95 %). In brackets: not above that."),
        ("held_out", figures.held_out(selected), "Units chosen on one half of the problems, measured "
         "on the other, both ways; 95 % intervals over problems."),
        ("ridge", figures.predictability(ridge), "Cross-validated R² with 95 % intervals over "
         "problems; logarithms of condition number, smallest eigenvalue and error."),
    ):  # fmt: skip
        run.figure(name, figure, f"{caption} {len(A)} held-out problems.")


if __name__ == "__main__":
    main()
