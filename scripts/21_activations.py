"""P2-01: what do the layers of the energy hold?

Activations after fc1, fc2 and fc3, the food of all dictionaries: at noised answers, as in training, and
along sampling paths, in every landscape, on fresh problems that neither training nor test set has seen.
They are written in shards; what is held out shares no problem with what is learned from.
If a layer's variance were mostly its landscape's mean, a dictionary could look good by knowing k alone:
the share is reported, and later experiments report what is explained within landscapes beside it.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

AGREE = 1e-5


@command(
    "P2-01",
    problems=Param(1500, tiny=60, paper=4000, gpu=30_000, help="problems to learn from; 20 tokens a draw and path"),
    held_out=Param(400, tiny=40, paper=1000, gpu=4000, help="problems kept for judging"),
    draws=Param(2, help="noised answers of each problem and landscape"),
    shard=Param(250, tiny=20, help="problems of one shard"),
    criteria={
        "stored_is_computed": "activations read back equal those that the model computes from the "
        "stored problem, state and landscape, to 1e-5 of their size, in every shard",
        "variance_within_landscapes": "in every layer at least 5 % of the variance lies within "
        "landscapes, so that there is more to explain than the landscape",
    },
)
def main(run):
    import pandas

    from ired.instruments.dictionaries import activations, figures
    from ired.instruments.dictionaries.activations import SPLITS, Shards, ShardWriter
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import AnnealedSampler

    run.gate("SETUP-5")
    source, params = run.upstream("SETUP-3"), run.params
    energy = load_energy(source.path("model.safetensors"), run.device)
    n, c, sampler = energy.coordinates.n, run.profile.problem.c, AnnealedSampler(**run.profile.sampling)
    writer, sets = ShardWriter(run.tensors, energy.schedule.K, source.run_id), {}
    for split, count in zip(SPLITS, (params.problems, params.held_out), strict=True):
        generator = problems.generator(run.seed, f"activations {split}")
        A = problems.draw(count, n, c, generator)
        sets[f"{split}.A"] = A.to(run.device)
        shards = activations.in_shards(energy, sets[f"{split}.A"], sampler, params.draws, generator, size=params.shard)
        with run.progress(count, f"activations, {split}") as bar:
            for tokens in shards:
                writer.add(split, tokens)
                bar.update(len(tokens.problem.unique()))
        run.dataset(f"activations {split} n={n}", problems.problem_digest(A), split, "ired.model.problems.draw")
    run.json("index", writer.index)
    run.tensors("problems", sets)
    run.tensors("moments", writer.moment_tensors())

    stored = Shards(writer.index, run.logged().tensors)
    worst = activations.disagreement(stored, energy, sets, problems.generator(run.seed, "recomputed"))
    run.criterion("stored_is_computed", worst < AGREE, worst=worst)

    summaries = {layer: of_layer.summary() for layer, of_layer in writer.moments.items()}
    summary = pandas.DataFrame([{"layer": layer} | numbers for layer, numbers in summaries.items()])
    run.table("summary", summary)
    for layer, numbers in summaries.items():
        run.metrics({f"{layer}.{name}": value for name, value in numbers.items()})
    run.metrics({f"tokens.{split}": sum(of_split) for split, of_split in writer.index["tokens"].items()})
    within = 1 - summary["between_landscapes"]
    run.criterion("variance_within_landscapes", within.min() > 0.05, smallest=within.min())
    run.headline("share of variance between landscapes, fc2", summaries["fc2"]["between_landscapes"])
    count = sum(writer.index["tokens"]["train"])
    moments = {layer: (of_layer.means, of_layer.covariance) for layer, of_layer in writer.moments.items()}
    run.figure(
        "activations",
        figures.plot_activations(summary, moments),
        f"{count} tokens of {params.problems} problems. Left: how far each landscape's mean lies from the overall "
        "mean, in units of the root mean square deviation. Middle: variance by principal component. "
        "Right: what the activations are made of.",
    )


if __name__ == "__main__":
    main()
