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

LAYERS = {"fc1": "P2-02", "fc2": "P2-03", "fc3": "P2-04"}  # and who trained their dictionaries


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

    from ired.experiments.earlier_results import dictionary_of_run
    from ired.instruments.core import states
    from ired.instruments.dictionaries import figures_catalogue as figures, interpretation, rule_descriptions
    from ired.instruments.dictionaries.activations import Shards
    from ired.model import problems
    from ired.model.checkpoint import load_energy

    source, up = run.upstream("SETUP-3"), run.upstream("P2-01")
    model = load_energy(source.path("model.safetensors"), run.device, torch.float64)
    operating_points, params = run.upstream("P2-05").json("operating_point"), run.params
    shards, moments = Shards.of(up.json("index"), up.tensors, source.run_id), up.tensors("moments")
    A = up.tensors("problems")["held_out.A"][: params.problems].to(run.device, torch.float64)
    y0, columns = states.answers(model, A), shards.columns("held_out")
    kept = columns["problem"] < len(A)
    columns = {name: value[kept] for name, value in columns.items()}
    properties = rule_descriptions.worded(problems.properties(A))

    interpreted, pages = {}, []
    for layer, exp_id in LAYERS.items():
        learned, best = run.upstream(exp_id), operating_points[layer]
        dictionary, name = dictionary_of_run(run, exp_id), learned.json("chosen")["primary"]
        of_layer = interpreted[layer] = interpretation.interpret(
            model,
            layer,
            dictionary,
            covariance=moments[f"{layer}.covariance"],
            x=torch.cat(list(shards.activations("held_out", layer)))[kept].to(run.device),
            A=A,
            y0=y0,
            columns=columns,
            properties=properties,
            sizes=interpretation.InterpretationSizes(params.top, params.others, params.tokens, params.pictures),
            generator=problems.generator(run.seed, f"features {layer}"),
        )
        numbers = of_layer.summary()
        is_best = name.rpartition("-seed")[0] == best["name"].rpartition("-seed")[0]
        run.metrics({f"{layer}.{n}": value for n, value in numbers.items() if np.isfinite(value)})
        run.metrics({f"{layer}.is_operating_point": is_best})
        page = of_layer.page(layer, learned.table("features").set_index("feature")["stability"], columns, properties)
        page["note"] = figures.note(name, numbers, best, is_best)
        pages.append(page)
        overview = figures.plot_strongest_features(layer, page["table"], page["arrays"])
        run.figure(f"overview_{layer}", overview, page["note"])
    effects = interpretation.checked_effects(interpreted)
    run.table("effects", effects)
    run.table("features", pandas.concat([page["table"] for page in pages], ignore_index=True))
    run.tensors("pictures", {f"{page['name']}.{name}": x for page in pages for name, x in page["arrays"].items()})
    title = f"Feature catalogue ({run.profile.name}, seed {run.seed}, negatives: {run.variant})"
    run.html("catalogue", figures.catalogue_page(title, pages))
    run.figure(
        "agreement",
        figures.plot_ablation_agreement(effects),
        "Mean effect of a feature on the energy gap to the answer: by gradient × activation, and exactly.",
    )

    for criterion, (met, numbers) in interpretation.interpretation_verdicts(interpreted.values()).items():
        run.criterion(criterion, met, **numbers)
    weakest = interpretation.weakest_agreement(interpreted.values())
    run.headline("agreement with ablation, weakest layer", weakest.estimate, weakest.low, weakest.high)


if __name__ == "__main__":
    main()
