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

    from ired.instruments.core import states
    from ired.instruments.dictionaries import activations, figures
    from ired.instruments.dictionaries.activations import LAYERS, SPLITS, Moments, Shards
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import Sampler

    run.gate("SETUP-5")
    source = run.upstream("SETUP-3")
    energy = load_energy(source.path("model.safetensors"), run.device)
    K, n, params = energy.schedule.K, energy.coordinates.n, run.params
    sampler = Sampler(**run.profile.sampling)
    tokens, sets, moments = {s: [] for s in SPLITS}, {}, {layer: Moments(K) for layer in LAYERS}
    for split, count in zip(SPLITS, (params.problems, params.held_out), strict=True):
        drawn = problems.generator(run.seed, f"activations {split}")
        A = problems.draw(count, n, run.profile.problem.c, drawn)
        sets[f"{split}.A"] = A
        with run.progress(count, f"activations, {split}") as bar:
            for number, first in enumerate(range(0, count, params.shard)):
                part = A[first : first + params.shard].to(run.device)
                start = energy.coordinates.noise(len(part), generator=drawn).to(part)
                seen = activations.collect(
                    energy, part, states.answers(energy, part),
                    sampler, start, params.draws, drawn, first,
                )  # fmt: skip
                tokens[split].append(len(seen.y))
                run.tensors(Shards.name(split, number, "tokens"), seen.columns())
                for layer, x in seen.activations.items():
                    run.tensors(Shards.name(split, number, layer), {"x": x})
                    if split == "train":
                        moments[layer].add(x, seen.landscape)
                bar.update(len(part))
        run.dataset(f"activations {split} n={n}", problems.digest(A), split, "ired.model.problems.draw")

    index = {"widths": {layer: len(m.mean) for layer, m in moments.items()}, "tokens": tokens,
             "landscapes": K, "source": source.run_id}  # fmt: skip
    run.json("index", index)
    run.tensors("problems", sets)
    run.tensors("moments", {
        f"{layer}.{name}": getattr(m, name) for layer, m in moments.items()
        for name in ("mean", "covariance", "means")
    })  # fmt: skip

    stored = Shards(index, run.logged().tensors)
    there = {name: A.to(run.device) for name, A in sets.items()}
    worst = activations.disagreement(stored, energy, there, problems.generator(run.seed, "recomputed"))
    run.criterion("stored_is_computed", worst < AGREE, worst=worst)

    rows = [{"layer": layer} | m.summary() for layer, m in moments.items()]
    summary = pandas.DataFrame(rows)
    run.table("summary", summary)
    for row in rows:
        run.metrics({f"{row['layer']}.{name}": v for name, v in row.items() if name != "layer"})
    run.metrics({f"tokens.{split}": sum(counts) for split, counts in tokens.items()})
    within = 1 - summary["between_landscapes"]
    run.criterion("variance_within_landscapes", within.min() > 0.05, smallest=within.min())
    run.headline("share of variance between landscapes, fc2", rows[1]["between_landscapes"])
    run.figure(
        "activations",
        figures.activations(summary, {layer: (m.means, m.covariance) for layer, m in moments.items()}),
        f"{sum(tokens['train'])} tokens of {params.problems} problems. Left: how far each landscape's mean "
        "lies from the overall mean, in units of the root mean square deviation. Middle: variance by "
        "principal component. Right: what the activations are made of.",
    )


if __name__ == "__main__":
    main()
