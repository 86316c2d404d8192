"""P2-05: how sparse may a dictionary be, and which one is it best to read?

The frontier of explained variance, recovered energy gaps and recovered score against L0, over
architectures × sparsities × sizes, in every layer. All members of a layer are trained together on the
same batches; each is a nested MLflow run, so that its UI compares them. The operating point follows
from a rule that stands in the criteria, not from looking: if no member meets it, that is the finding.
"""

from ired.experiments import dictionaries
from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P2-05",
    sparsities=Param((8, 16, 32, 64), tiny=(4, 8), paper=(16, 32, 64), gpu=(16, 32, 64, 128), help="L0 aimed at"),
    expansions=Param((1, 2), tiny=(1,), gpu=(2, 4), help="features per neuron"),
    steps=Param(300, tiny=50, gpu=3000, help="training steps"),
    rate=Param(5e-3, gpu=1e-3, help="learning rate"),
    batch=Param(256, tiny=128, gpu=4096, help="tokens of a step"),
    problems=Param(50, tiny=10, gpu=200, help="held-out problems on which splices are judged"),
    criteria={
        f"operating_point_{layer}": "some member has fewer than 10 % dead features, and at least 0.9 of "
        "energy gaps and of the score is recovered; of these the one with the lowest L0 is chosen, of "
        "equal ones the smaller; without any, the one whose smaller share of the two is largest"
        for layer in ("fc1", "fc2", "fc3")
    },
)
def main(run):
    import pandas

    from ired.instruments.dictionaries import figures, study
    from ired.instruments.dictionaries.activations import LAYERS
    from ired.instruments.dictionaries.sparse_autoencoder import ARCHITECTURES
    from ired.instruments.dictionaries.training import Member, Plan

    params, tables, operating = run.params, [], {}
    for layer, bench in dictionaries.layers(run, LAYERS, params.problems).items():
        members = [
            Member(architecture, expansion * bench.shards.width(layer), sparsity)
            for architecture in ARCHITECTURES
            for expansion in params.expansions
            for sparsity in params.sparsities
        ]
        with run.progress(params.steps, f"{len(members)} dictionaries of {layer}") as bar:
            plan = Plan(params.steps, params.rate)
            trained, _ = bench.train(members, plan, params.batch, bar.update, run.checkpoint(layer))
        judged = bench.judge({m.name: dictionary for m, dictionary in trained.items()})
        rows = study.dictionary_table(judged, {m.name: m for m in members}).assign(layer=layer)
        for member in members:
            told = {
                "layer": layer,
                "architecture": member.architecture,
                "features": member.features,
                "sparsity": member.sparsity,
                "seed": run.seed,
            }
            run.child(f"{layer} {member.name}", told, judged[member.name].row())
        name, met = study.operating_point(rows)
        chosen = rows.set_index("name").loc[name]
        run.criterion(
            f"operating_point_{layer}",
            met,
            **{what: chosen[what] for what in ("l0", "gap", "score", "dead", "features")},
        )
        operating[layer] = {"name": name, "meets": met} | {
            what: chosen[what] for what in ("architecture", "features", "sparsity", "l0", "gap", "score")
        }
        selected = next(dictionary for member, dictionary in trained.items() if member.name == name)
        run.tensors(f"chosen-{layer}", *selected.pack("chosen"))
        tables.append(rows)
    table = pandas.concat(tables, ignore_index=True)
    run.table("sweep", table)
    run.json("operating_point", operating)
    run.headline("layers with an operating point", sum(p["meets"] for p in operating.values()))
    run.figure(
        "frontier",
        figures.plot_frontier(table, {layer: p["name"] for layer, p in operating.items()}),
        f"{len(table)} dictionaries on {params.problems} held-out problems. Small marks: fewer features. Rings: "
        "what the rule chose. Dashed: a tenth, which the rule allows.",
    )


if __name__ == "__main__":
    main()
