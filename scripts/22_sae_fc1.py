"""P2-02: can fc1 be written as few features out of many?

Sparse autoencoders (L1, TopK, BatchTopK, JumpReLU; three seeds each, trained together) on the
activations after fc1, judged on held-out problems: by variance explained, and by what is left of
energy gaps, score and sampled inverse when the reconstruction takes the layer's place. Beside them, at
equal sparsity: PCA, ICA, the neurons themselves, and a random dictionary with a trained encoder.
What counts against: as much recovered from random directions, or dictionaries that every seed draws anew.
"""

from ired.lab.command import Param, command

LAYER = "fc1"


@command(
    "P2-02",
    architecture=Param("topk", choices=("l1", "topk", "batchtopk", "jumprelu"),
                       help="whose first seed is the dictionary that later experiments study"),
    expansion=Param(2, paper=4, help="features per neuron"),
    sparsity=Param(32, tiny=8, paper=32, help="features active per token that are aimed at"),
    seeds=Param(3, help="dictionaries of each architecture"),
    steps=Param(600, tiny=60, paper=3000, help="training steps"),
    rate=Param(5e-3, paper=1e-3, help="learning rate"),
    batch=Param(512, tiny=128, paper=4096, help="tokens of a step"),
    problems=Param(200, tiny=10, help="held-out problems on which splices are judged"),
    criteria={
        "few_dead_features": "fewer than 10 % of the studied dictionary's features never fire on "
        "held-out tokens",
        "gap_recovered": "with it in the layer's place at least 0.9 of the energy gaps is left: lower "
        "end of the 95 % interval over problems",
        "score_recovered": "the same of the score, the gradient of the energy spliced, where 0 is "
        "the best multiple of the state, which is blind to A",
        "stable_over_seeds": "features of different seeds match better than random dictionaries of "
        "the data's covariance: lower end of the mean cosine's interval above the highest null",
    },
)
def main(run):
    from ired.figures import phase2 as figures
    from ired.instruments import dictionary_study, points
    from ired.instruments.activations import Shards
    from ired.instruments.dictionary_training import Plan
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import SamplingConfig, solve

    params, source, upstream = run.params, run.upstream("SETUP-3"), run.upstream("P2-01")
    energy = load_energy(source.path("model.safetensors"), run.device)
    shards = Shards.of(upstream.json("index"), upstream.tensors, source.run_id)
    A = upstream.tensors("problems")["held_out.A"][: params.problems].to(run.device)
    Y, descent = problems.inverse(A.double()), SamplingConfig(**run.profile.sampling)

    def answer(energy):
        inverse = solve(energy, A, descent, problems.generator(run.seed, "start", run.device))
        return (inverse - Y).pow(2).mean((1, 2))

    moments, y0 = upstream.tensors("moments"), points.answers(energy, A)
    bench = dictionary_study.Bench.of(energy, LAYER, shards, moments, A, y0, answer, run.seed)
    features = params.expansion * shards.width(LAYER)
    with run.progress(params.steps, f"dictionaries of {LAYER}") as bar:
        study = dictionary_study.study(
            bench, params.architecture, features, params.sparsity, params.seeds, Plan(params.steps, params.rate),
            params.batch, bar.update,
        )  # fmt: skip

    run.tensors("dictionaries", *study.pack())
    run.json("chosen", study.chosen | {"source": source.run_id})
    tables = study.tables()
    for name, table in tables.items():
        run.table(name, table)
    own, mse = study.own, answer(energy).mean().item()
    run.metrics(own | {"mse_of_the_model": mse})
    for name, (met, numbers) in study.verdicts().items():
        run.criterion(name, met, **numbers)
    run.headline(f"score recovered, {LAYER}", own["score"], own["score_low"], own["score_high"])
    run.figure(
        "dictionaries",
        figures.dictionaries(study.rows, mse, LAYER),
        f"Dictionaries of {features} features with about {params.sparsity} active, on {len(A)} held-out "
        "problems, with 95 % intervals over problems. 1 is a constant in the layer's place (gaps), or the "
        "score that is blind to A; 0 the network as it is. Dotted: what the criteria ask for. Rings: the "
        "network's own backward pass from where the reconstruction led. Dashed: the model's own error.",
    )
    run.figure(
        "training",
        figures.dictionary_training(tables, LAYER, params.architecture),
        "Learning curves of all members; how well the features of different seeds match, beside random "
        "dictionaries with the data's covariance (bar) and without (tick); how often features fire.",
    )


if __name__ == "__main__":
    main()
