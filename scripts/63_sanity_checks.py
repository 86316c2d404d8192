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
        "attributions_decay": "at the end of the cascade signed rank correlations of score gradients and of integrated "
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

    from ired.experiments import sanity_controls as controls
    from ired.experiments.earlier_results import dictionary_of_run, directions_of_run
    from ired.instruments.sanity import figures, linear_surrogate_study, randomisation, study, survival_table
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import AnnealedSampler

    size, generator = run.params, problems.generator(run.seed, "sanity")
    model = load_energy(run.upstream("SETUP-3").path("model.safetensors"), run.device, torch.float64)
    answer = AnnealedSampler(**run.profile.sampling).answers
    A, A_pairs, A_many = controls.problem_sets(run)

    # What findings are about: directions and dictionaries of earlier experiments, concepts shown by pairs.
    directions = [d for exp_id in ("P3-01", "P3-02", "P3-03") for d in directions_of_run(run, exp_id)]
    dictionaries = {layer: dictionary_of_run(run, exp_id).to(A) for layer, exp_id in LAYERS.items()}
    traits = problems.properties(A_pairs)
    shown = study.shown_concepts(model, A_pairs, traits, directions=directions, most=size.pairs, generator=generator)

    # What they are doubted with: other networks, least squares, affine maps fitted to many problems.
    altered = controls.with_fresh_weights(run, model)
    bench = study.sanity_bench(
        model,
        altered=altered,
        briefly=controls.trained_briefly(run, model),
        A=A,
        answer=answer,
        squares=controls.least_squares_answers(run, A),
        directions=directions,
        dictionaries=dictionaries,
        shown=shown,
        background=study.background(model, A_many, answer, problems.generator(run.seed, "sanity background")),
        generator=generator,
    )
    with run.progress(len(altered) + 17, "fresh weights, then findings") as bar:
        rows = study.decay(bench, size.mapped, bar.update)
        cells = study.survival_cells(bench, size.moves, generator, bar.update)
    linear = linear_surrogate_study.affine_surrogate(
        model, answer, A_many, dictionaries=dictionaries, directions=directions, generator=generator
    )

    table, curves = survival_table.survival_table(cells, study.SOURCES, study.REASONS), randomisation.decay_curves(rows)
    for name, rows_of in ({"table": table, "decay": curves} | linear.tables()).items():
        run.table(name, rows_of)
    run.metrics(survival_table.survival_metrics(table))
    for name, (met, numbers) in study.sanity_verdicts(table, rows, linear).items():
        run.criterion(name, met, **numbers)
    share = survival_table.survived(table)
    run.headline("share of finding × check that survives", share.estimate, share.low, share.high)
    for name, figure, caption in figures.sanity_figures(table, curves, linear):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
