"""What P2-02 to P2-05 share: dictionaries of one layer, trained and judged.

Three experiments ask one question of three layers, and a fourth sweeps over it. Heavy imports wait
until there is work to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ired.lab.arguments import Param

if TYPE_CHECKING:
    from ired.lab.run import Run

PARAMS = dict(
    architecture=Param(
        "topk",
        choices=("l1", "topk", "batchtopk", "jumprelu"),
        help="whose first seed is the dictionary that later experiments study",
    ),
    expansion=Param(2, gpu=4, help="features per neuron"),
    sparsity=Param(32, tiny=8, help="features active per token that are aimed at"),
    seeds=Param(3, help="dictionaries of each architecture"),
    steps=Param(600, tiny=60, gpu=3000, help="training steps"),
    rate=Param(5e-3, gpu=1e-3, help="learning rate"),
    batch=Param(512, tiny=128, gpu=4096, help="tokens of a step"),
    problems=Param(200, tiny=10, paper=100, gpu=200, help="held-out problems on which splices are judged"),
)
CRITERIA = {
    "few_dead_features": "fewer than 10 % of the studied dictionary's features never fire on held-out tokens",
    "gap_recovered": "with it in the layer's place at least 0.9 of the energy gaps is left: lower "
    "end of the 95 % interval over problems",
    "score_recovered": "the same of the score, the gradient of the energy spliced, where 0 is "
    "the best multiple of the state, which is blind to A",
    "stable_over_seeds": "features of different seeds match better than random dictionaries of "
    "the data's covariance: lower end of the mean cosine's interval above the highest null",
}


def layers(run: Run, names: tuple[str, ...], count: int) -> dict[str, Any]:
    """A bench (instruments.dictionary_study) for each of the layers, on the `count` first held-out
    problems, with the model of SETUP-3 and the activations of P2-01 that belong to it."""
    from ired.instruments.core import states
    from ired.instruments.dictionaries.activations import Shards
    from ired.instruments.dictionaries.study import DictionaryBench
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import SamplingConfig, solve

    source, upstream = run.upstream("SETUP-3"), run.upstream("P2-01")
    energy = load_energy(source.path("model.safetensors"), run.device)
    shards = Shards.of(upstream.json("index"), upstream.tensors, source.run_id)
    A = upstream.tensors("problems")["held_out.A"][:count].to(run.device)
    Y, descent = problems.inverse(A.double()), SamplingConfig(**run.profile.sampling)

    def answer(energy: Any) -> Any:
        inverse = solve(energy, A, descent, problems.generator(run.seed, "start", run.device))
        return (inverse - Y).pow(2).mean((1, 2))

    moments, y0 = upstream.tensors("moments"), states.answers(energy, A)
    return {
        layer: DictionaryBench.of(
            energy=energy, layer=layer, shards=shards, moments=moments, A=A, y0=y0, answer=answer, seed=run.seed
        )
        for layer in names
    }


def study_layer(run: Run, layer: str) -> None:
    """All architectures and baselines on one layer: P2-02, P2-03 and P2-04."""
    from ired.instruments.dictionaries import figures, study
    from ired.instruments.dictionaries.training import Plan

    params, bench = run.params, layers(run, (layer,), run.params.problems)[layer]
    features = params.expansion * bench.shards.width(layer)
    with run.progress(params.steps, f"dictionaries of {layer}") as bar:
        results = study.study_dictionaries(
            bench,
            params.architecture,
            features,
            params.sparsity,
            params.seeds,
            Plan(params.steps, params.rate),
            params.batch,
            bar.update,
            run.checkpoint(layer),
        )

    run.tensors("dictionaries", *results.pack())
    run.json("chosen", results.chosen | {"source": run.upstream("SETUP-3").run_id})
    tables = results.tables()
    for name, table in tables.items():
        run.table(name, table)
    chosen_numbers, mse = results.studied_row, bench.answer(bench.energy).mean().item()
    run.metrics(chosen_numbers | {"mse_of_the_model": mse})
    for name, (met, numbers) in results.verdicts().items():
        run.criterion(name, met, **numbers)
    run.headline(
        f"score recovered, {layer}", chosen_numbers["score"], chosen_numbers["score_low"], chosen_numbers["score_high"]
    )
    run.figure(
        "dictionaries",
        figures.plot_dictionaries(results.rows, mse, layer),
        f"Dictionaries of {features} features with about {params.sparsity} active, on {params.problems} held-out "
        "problems, with 95 % intervals over problems. 1 is a constant in the layer's place (gaps), or the "
        "score that is blind to A; 0 the network as it is. Dotted: what the criteria ask for. Rings: the "
        "network's own backward pass from where the reconstruction led. Dashed: the model's own error.",
    )
    run.figure(
        "training",
        figures.plot_dictionary_training(tables, layer, params.architecture),
        "Learning curves of all members; how well the features of different seeds match, beside random "
        "dictionaries with the data's covariance (bar) and without (tick); how often features fire.",
    )
