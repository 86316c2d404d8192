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

    from ired.instruments.dictionaries import (
        figures,
        held_out_correlation,
        property_correlation,
        sparse_autoencoder,
    )
    from ired.instruments.dictionaries.activations import Shards
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.reference import reference_panel

    source, model = run.upstream("P2-01"), run.upstream("SETUP-3")
    shards = Shards.of(source.json("index"), source.tensors, model.run_id)
    columns, A = shards.columns("held_out"), source.tensors("problems")["held_out.A"]
    moments, trained = source.tensors("moments"), load_energy(model.path("model.safetensors"), "cpu")
    untrained = reference_panel(trained, run.seed)["untrained"]
    generator = problems.generator(run.seed, "correlation")
    rng = np.random.default_rng(generator.initial_seed())

    problem, token = columns["problem"], property_correlation.one_token_each(columns["problem"], rng)
    properties = property_correlation.properties_of(A, problems.properties(A), columns, token)
    inputs = property_correlation.input_units(A, columns["y"][token])
    by_inputs = held_out_correlation.predictability(inputs, properties, run.seed)

    layers = []
    for layer, dictionaries in LAYERS.items():
        up = run.upstream(dictionaries)
        packed = up.tensors("dictionaries"), up.meta("dictionaries")
        sae = sparse_autoencoder.chosen_dictionary(up.json("chosen"), packed, model.run_id)
        frozen = sparse_autoencoder.Dictionary.unpack("frozen", *packed)
        mean, covariance = (moments[f"{layer}.{what}"] for what in ("mean", "covariance"))
        kinds = property_correlation.encoders(sae, frozen, mean, covariance, generator)
        units = property_correlation.gather_units(kinds, shards.activations("held_out", layer), problem, token)
        x = property_correlation.activations_of(untrained, A, columns, layer)
        control = property_correlation.gather_units({"untrained": lambda x: x}, x, problem, token)
        layers.append(
            held_out_correlation.of_layer(layer, units, control, properties, rng, run.params.permutations, run.seed)
        )
    tables = held_out_correlation.correlation_tables(layers, by_inputs)
    for name, table in tables.items():
        run.table(name, table)
    run.table("confounded", property_correlation.property_correlations(properties))

    verdicts = held_out_correlation.correlation_verdicts(tables["correlations"], tables["selected"])
    for criterion, (met, numbers) in verdicts.items():
        run.criterion(criterion, met, **numbers)
    gain = held_out_correlation.mean_advantage([each.selected for each in layers], "sae", "neuron")
    run.headline("held-out ρ, feature − neuron", gain.estimate, gain.low, gain.high)
    shown = figures.correlation_figures(tables["best"], tables["selected"], tables["ridge"], len(A))
    for name, (figure, caption) in shown.items():
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
