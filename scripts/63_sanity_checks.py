"""P6-03: which findings go away when what they are said to be about is taken away?

Weights are drawn anew from the last layer down and each layer alone (Adebayo et al. 2018): signed rank
correlation and SSIM of attributions, CAVs, dictionaries and gradient subspaces, beside two networks
that are both random. Then findings of Phases 1 to 5 meet every check that applies to them: random
weights, a training on shuffled answers (beside one equally long on true ones), permuted problems,
random and orthogonal directions, Gaussian noise of equal covariance, and an affine map of A: how much
of answers, residuals, energy ordering, features and directions it explains, and what is left without
it. The rules of the table stand in `ired.instruments.sanity.survival_table`. Against a finding: half of it stays
where nothing should, or nothing stays beyond the affine map.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

LAYERS = {"fc1": "P2-02", "fc2": "P2-03", "fc3": "P2-04"}
ENDS = "at the end of the cascade"


@command(
    "P6-03",
    problems=Param(60, tiny=16, help="problems of all findings but concepts"),
    mapped=Param(24, tiny=6, help="of them, those whose attributions are compared"),
    draws=Param(3, tiny=2, help="draws of fresh weights at each step of the cascade"),
    steps=Param(600, tiny=60, paper=1500, gpu=3000, help="steps of the two short trainings"),
    batch=Param(256, tiny=64, gpu=2048, help="problems of a step of these"),
    moves=Param(6, tiny=3, help="small changes of A for the answers' Jacobians"),
    pool=Param(1200, tiny=300, paper=3000, help="problems that pairs are matched from"),
    pairs=Param(120, tiny=40, paper=400, help="matched pairs of each concept, at most"),
    surrogate=Param(1000, tiny=100, paper=3000, help="problems of the linear surrogate"),
    squares=Param(40_000, tiny=4000, gpu=100_000, help="problems of the least-squares predictors"),
    criteria={
        "attributions_decay": f"{ENDS} signed rank correlations of score gradients and of integrated "
        "gradients to the trained network's are below 0.5 and exceed those of two random networks by "
        "less than 0.2: upper ends of 95 % intervals over problems",
        "dictionaries_decay": "all three dictionaries survive the check of random weights",
        "concepts_decay": "concepts in fc2 and in fc3 survive it, too",
        "more_than_linear": "an affine map of A leaves some of the answers' variance unexplained, and "
        "the answers err less than least squares on A: 95 % intervals above 0",
        "most_findings_survive": "more than 70 % of the applicable cells of finding × check",
    },
)
def main(run):
    import torch

    from ired.instruments.accuracy import predictors
    from ired.instruments.core import states
    from ired.instruments.core.directions import unpack
    from ired.instruments.dictionaries.sparse_autoencoder import studied
    from ired.instruments.sanity import (
        figures,
        linear_surrogate_study,
        randomisation,
        study,
        survival_table,
    )
    from ired.model import problems, weight_edits
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import Sampler
    from ired.model.training import shuffled_answers
    from ired.model.training.trainer import Trainer, TrainingConfig

    p, source, n, c = run.params, run.upstream("SETUP-3"), run.profile.problem.n, run.profile.problem.c
    model = load_energy(source.path("model.safetensors"), run.device, torch.float64)
    generator, answer = problems.generator(run.seed, "sanity"), Sampler(**run.profile.sampling).answers

    def drawn(count, purpose):
        stream = problems.generator(run.seed, f"sanity {purpose}")
        return problems.draw(count, n, c, stream, torch.float64).to(run.device)

    config = shuffled_answers.brief(TrainingConfig(c=c, mining=run.variant, **run.profile.training), p.steps, p.batch)
    briefly = [
        shuffled_answers.finished(kind(model.config, config, run.seed, run.device))
        for kind in (Trainer, shuffled_answers.Shuffled)
    ]
    fresh = [
        randomisation.Altered(
            order, step, i, weight_edits.randomised(model, layers, problems.generator(run.seed, f"{order} {step} {i}"))
        )
        for order in ("cascade", "independent")
        for step, layers in randomisation.steps(order)
        for i in range(p.draws if order == "cascade" else 1)
    ]
    A, A_pairs, A_many = (drawn(getattr(p, name), name) for name in ("problems", "pool", "surrogate"))
    run.dataset(f"sanity n={n}", problems.digest(torch.cat([A, A_pairs, A_many])), "fresh", "ired.model.problems.draw")
    batches = ((a, problems.inverse(a)) for a in drawn(p.squares, "squares").split(4000))
    squares = {name: of for name, of in predictors.fit(batches).items() if of.degree}

    def upstream(exp_id):
        up = run.upstream(exp_id)
        return unpack(up.tensors("directions"), up.meta("directions"))

    directions = [d for exp_id in ("P3-01", "P3-02", "P3-03") for d in upstream(exp_id)]
    dictionaries = {}
    for layer, exp_id in LAYERS.items():
        up = run.upstream(exp_id)
        packed = up.tensors("dictionaries"), up.meta("dictionaries")
        dictionaries[layer] = studied(up.json("chosen"), packed, source.run_id).to(A)
    shown = study.shown(model, A_pairs, problems.properties(A_pairs), directions, p.pairs, generator)
    background = study.background(model, A_many, answer, problems.generator(run.seed, "sanity background"))
    bench = study.bench(
        model,
        fresh,
        briefly,
        A,
        answer,
        {name: of(A) for name, of in squares.items()},
        directions,
        dictionaries,
        shown,
        background,
        generator,
    )
    with run.progress(len(fresh) + 17, "fresh weights, then findings") as bar:
        rows = study.decay(bench, p.mapped, bar.update)
        cells = study.cells(bench, p.moves, generator, bar.update)
    start = states.noise(model, len(A_many), generator=generator, like=A_many)
    linear = linear_surrogate_study.linear(model, answer, A_many, start, dictionaries, directions, generator)
    table = survival_table.judged(cells, study.SOURCES, study.REASONS)
    curves = randomisation.curves(rows)
    tables = {
        "table": table,
        "decay": curves,
        "surrogate": linear.shares,
        "surrogate_directions": linear.directions,
        "ordering": linear.ordering,
    }
    for name, rows_of in tables.items():
        run.table(name, rows_of)
    run.metrics(survival_table.numbers(table))

    for name, (met, numbers) in study.verdicts(table, rows, linear).items():
        run.criterion(name, met, **numbers)
    share = survival_table.survived(table)
    run.headline("share of finding × check that survives", share.estimate, share.low, share.high)
    for name, figure, caption in figures.sanity_figures(table, curves, linear):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
