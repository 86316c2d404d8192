"""P2-06: what do the features of the dictionaries do, and can their firing be said in words?

Features are ranked by gradient × activation on the energy gap to the answer (the energy itself carries
a large offset that depends on A alone), and this ranking is checked by ablating features one by one.
For the strongest of each layer: when they fire, what they read in y and in A and write to the score as
n×n pictures, and a decision tree of depth 3 as a description, fitted on half of the held-out problems
and tested on the other. Against a description counts that random directions of the data's covariance
that fire as often are described as well; against the ranking, that ablations rank otherwise.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P2-06",
    top=Param(50, tiny=6, help="features of each layer that are interpreted, by attribution"),
    others=Param(50, tiny=10, help="features that are ablated too, drawn from the others"),
    tokens=Param(3000, tiny=200, help="held-out tokens that effects are averaged over"),
    problems=Param(400, tiny=40, gpu=1000, help="held-out problems that firing is seen on"),
    pictures=Param(200, tiny=40, help="tokens that a picture is the mean of, at most"),
    criteria={
        "attribution_agrees_with_ablation": "in every layer the rank correlation of mean "
        "|attribution| and mean |ablation| over the features checked is above 0.8: 95 % interval",
        "rules_hold_on_new_problems": "in every layer the mean held-out AUROC over the features "
        "that have a rule is above 0.8: 95 % interval over features",
        "rules_beat_random_directions": "in every layer it is above that of random directions of "
        "the data's covariance that fire as often: paired 95 % interval over features above 0",
    },
)
def main(run):
    import numpy as np
    import pandas
    import torch

    from ired.instruments.core import states
    from ired.instruments.dictionaries import features, figures_catalogue
    from ired.instruments.dictionaries.activations import LAYERS, Shards
    from ired.instruments.dictionaries.dictionary import studied
    from ired.model import problems
    from ired.model.checkpoint import load_energy

    source, up = run.upstream("SETUP-3"), run.upstream("P2-01")
    model = load_energy(source.path("model.safetensors"), run.device, torch.float64)
    swept = run.upstream("P2-05").json("operating_point")
    shards = Shards.of(up.json("index"), up.tensors, source.run_id)
    A = up.tensors("problems")["held_out.A"][: run.params.problems].to(run.device, torch.float64)
    y0, columns = states.answers(model, A), shards.columns("held_out")
    kept = columns["problem"] < len(A)
    columns = {name: value[kept] for name, value in columns.items()}
    properties = {name.replace("norm", "‖A‖").replace("_", " "): states.array(value)
                  for name, value in problems.properties(A).items() if name != "rank"}  # fmt: skip
    sizes = features.Sizes(run.params.top, run.params.others, run.params.tokens, run.params.pictures)

    layers, effects, seen = [], [], {}
    for layer, exp_id in zip(LAYERS, ("P2-02", "P2-03", "P2-04"), strict=True):
        learned = run.upstream(exp_id)
        note, best = learned.json("chosen"), swept[layer]
        packed = learned.tensors("dictionaries"), learned.meta("dictionaries")
        x = torch.cat(list(shards.activations("held_out", layer)))[kept].to(run.device)
        found = seen[layer] = features.interpret(
            model, layer, studied(note, packed, source.run_id),
            up.tensors("moments")[f"{layer}.covariance"], x, A, y0, columns, properties, sizes,
            problems.generator(run.seed, f"features {layer}"),
        )  # fmt: skip
        stability = learned.table("features").set_index("feature")["stability"]
        table = pandas.DataFrame(found.columns()).assign(layer=layer)
        table["stability"] = stability.reindex(table["feature"]).to_numpy(dtype=float)
        numbers = found.summary()
        effects.append(pandas.DataFrame(found.checked_columns()).assign(layer=layer))
        name = note["primary"]
        chosen = name.startswith("{architecture}-{features}-l0_{sparsity}-".format(**best))
        run.metrics({f"{layer}.{n}": v for n, v in numbers.items() if np.isfinite(v)})
        run.metrics({f"{layer}.is_operating_point": bool(chosen)})
        words = figures_catalogue.note(name, numbers, best, chosen)
        examples = pandas.DataFrame(found.top_examples(columns, properties))
        shown = {"name": layer, "note": words, "table": table, "examples": examples}
        layers.append(shown | {"arrays": found.arrays()})
        run.figure(f"overview_{layer}", figures_catalogue.overview(layer, table, found.arrays()), words)
    effects = pandas.concat(effects, ignore_index=True)
    run.table("effects", effects)
    run.table("features", pandas.concat([layer["table"] for layer in layers], ignore_index=True))
    run.tensors("pictures", {f"{one['name']}.{name}": values
                             for one in layers for name, values in one["arrays"].items()})  # fmt: skip
    title = f"Feature catalogue ({run.profile.name}, seed {run.seed}, negatives: {run.variant})"
    run.html("catalogue", figures_catalogue.page(title, layers))
    run.figure("agreement", figures_catalogue.agreement(effects), "Mean effect of a feature on the energy "
               "gap to the answer: by gradient × activation, and exactly.")  # fmt: skip

    least = min((found.agreement.size for found in seen.values()), key=lambda v: v.low)
    run.criterion("attribution_agrees_with_ablation", least.low > 0.8, low=least.low)
    run.headline("agreement with ablation, weakest layer", least.estimate, least.low, least.high)
    for criterion, measure, bound in (
        ("rules_hold_on_new_problems", features.Interpretation.aurocs, 0.8),
        ("rules_beat_random_directions", features.Interpretation.beyond_null, 0.0),
    ):
        worst = features.weakest_mean([measure(found) for found in seen.values()])
        numbers = {"mean": worst.estimate, "low": worst.low} if worst else {}
        run.criterion(criterion, worst and worst.low > bound, **numbers)


if __name__ == "__main__":
    main()
