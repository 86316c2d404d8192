"""P6-02: which training problems does the network's answer to a test problem rest on?

SETUP-3 learns from an endless stream, of which nothing can be left out. This experiment therefore
draws a FINITE training set (256 problems at n = 4, whatever the profile's side) and trains small
networks of its own on it: IRED's energy, 32 wide, denoising loss alone. Influence of each problem on test
problems' score error, energy gap to a wrong answer and sampled error: with the exact damped
Gauss-Newton matrix of θ ↦ ∇_yE, by conjugate gradients (Koh & Liang 2017, arXiv 1703.04730),
beside the empirical Fisher matrix, TracIn, gradient products and cosines. Validated by
retraining: linear datamodeling score over random halves (Park et al. 2023, arXiv 2303.14186) and
removal of the most helpful 5 %. Against influences: sums that do not rank networks trained anew,
gradient cosines that rank them as well, removals that do no more harm than random ones.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P6-02",
    n=Param(4, tiny=3, help="matrix side of this experiment's own problems"),
    hidden=Param(32, tiny=12, gpu=48, help="width of its own networks"),
    training=Param(256, tiny=40, gpu=512, help="training problems, all there are"),
    tests=Param(24, tiny=6, paper=32, gpu=48, help="test problems"),
    steps=Param(1000, tiny=60, paper=2000, help="steps of each training"),
    halves=Param(64, tiny=10, gpu=100, help="random halves, each trained on three times"),
    seeds=Param(4, tiny=2, gpu=6, help="retrainings for each set of problems taken away"),
    sets=Param(8, tiny=3, gpu=12, help="random sets taken away"),
    share=Param(0.05, help="part of the training problems that is taken away"),
    draws=Param(4, tiny=2, help="noised states a landscape, and sampled starts, of a test problem"),
    dampings=Param((1e-4, 1e-3, 1e-2, 1e-1, 1.0), tiny=(1e-3, 1e-1), help="of the largest eigenvalue"),
    rounds=Param(10, tiny=6, gpu=12, help="of block conjugate gradients"),
    fresh=Param(96, tiny=12, help="fresh problems whose pull on SETUP-3's own model is looked at"),
    criteria={
        "lds_above_zero": "for each of the three outcomes the mean LDS of Gauss-Newton influence is "
        "above 0, its damping chosen on one half of the subsets and judged on the other: 95 % interval "
        "over test problems and subsets",
        "beats_gradient_similarity": "for each outcome it is above that of gradient cosines and of "
        "gradient products: 95 % interval of the difference, paired over test problems and subsets",
        "removal_hurts_more_than_random": "without the 5 % most helpful to a test problem its score "
        "error rises more than without a random 5 %: paired 95 % interval over test problems",
    },
)
def main(run):
    import pandas
    import torch

    from ired.instruments.core import states
    from ired.instruments.influence import figures, outcomes, removal, study, validation
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.energies.mlp import EnergyConfig
    from ired.model.sampling import Sampler
    from ired.model.training.ensemble import Recipe, TableEnergy, as_function, retrain

    run.gate("SETUP-5")
    size, c = run.params, run.profile.problem.c
    sampler, recipe = Sampler(**run.profile.sampling), Recipe(size.steps)
    config = EnergyConfig.for_problems(size.n, c, **{**run.profile.model, "hidden": size.hidden})
    single = torch.zeros(1, device=run.device)
    double = single.double()

    # A finite world: N problems to train on, T to ask about, and what is drawn for each, once.
    generator = problems.generator(run.seed, "influence")
    N, T = size.training, size.tests
    A = problems.draw(N + T, size.n, c, generator, torch.float64)
    run.dataset(f"P6-02 n={size.n}", problems.digest(A), "finite", "ired.model.problems.draw")
    untrained = TableEnergy(config).to(double)
    test = outcomes.Draws.of(untrained, A[N:].to(double), size.draws, size.draws, generator)
    train = outcomes.Draws.of(untrained, A[:N].to(double), 1, 1, generator)

    def retrained(name, masks, seeds, weights, keep=()):
        """Networks trained on the problems of each mask, their weights on the way, and their outcomes."""
        with run.progress(recipe.steps, f"steps of {len(masks)} networks") as bar:
            networks, past = retrain(
                config,
                A[:N],
                masks,
                seeds,
                weights,
                recipe,
                lambda what: problems.generator(run.seed, f"influence {what}"),
                single,
                keep,
                bar.update,
                run.checkpoint(name),
            )
        values = outcomes.measured(networks, test.to(single), sampler, len(masks))
        return networks, past, {outcome: states.array(value) for outcome, value in values.items()}

    # Two networks on everything; random halves: twice from the same first weights as these, once from others.
    whole = torch.arange(2)
    halves = validation.halves(size.halves, N, generator)
    masks = torch.cat([torch.ones(2, N, dtype=torch.bool), *[halves] * 3])
    seeds = torch.cat([whole, whole.repeat_interleave(len(halves)), 2 + torch.arange(len(halves))])
    marks = tuple(round(size.steps * part) for part in (0.1, 0.3, 0.5, 0.7, 0.9))
    ensemble, past, measured = retrained("halves", masks, seeds, seeds * (seeds > 1), marks)
    networks = []
    for m in whole.tolist():
        earlier = [(rate, ensemble.member(m, weights).to(double)) for rate, weights in past]
        networks.append(study.Trained.of(ensemble.member(m).to(double), as_function, earlier))

    # Their influences, and whether these predict what training on a half does.
    with run.progress(len(networks), "networks whose influences are computed") as bar:
        influences = study.compute_influences(
            networks, train, test, sampler, size.dampings, size.rounds, tick=bar.update
        )
    of_halves = {outcome: values[2:].reshape(3, -1, T) for outcome, values in measured.items()}
    validated = study.validate(influences, halves.numpy(), of_halves)

    # Retraining without the problems that help most, beside random and harmful ones.
    helps = study.helpfulness(influences, validated.judged)
    arms = removal.arms(torch.as_tensor(helps), size.share, size.sets, generator)
    again = torch.arange(size.seeds).repeat_interleave(len(arms))
    *_, without = retrained("removal", arms.repeat(size.seeds, 1), again, again * 0)
    removed = removal.compare(without["score_error"].reshape(size.seeds, len(arms), T), T)

    # The same question to SETUP-3's own model, which no finite set made: whose gradients agree?
    model = load_energy(run.upstream("SETUP-3").path("model.safetensors"), run.device).requires_grad_()
    near = run.upstream("SETUP-2").tensors("problems")["test.A"][:T].to(single)
    fresh = problems.draw(size.fresh, model.config.n, c, generator, torch.float64).to(single)
    draws = [outcomes.Draws.of(model, B, size.draws, 1, generator) for B in (fresh, near)]
    cosines = study.pull(model, list(model.parameters()), *draws)

    properties = [
        {name: states.array(values) for name, values in problems.properties(B).items() if name != "rank"}
        for B in (A[:N], A[N:], fresh, near)
    ]
    kappa = [values["condition_number"] for values in properties]
    distances = states.array(torch.cdist(A[N:].flatten(1), A[:N].flatten(1)))
    tables = {
        "lds": validated.table,
        "sweep": validated.sweep,
        "problems": validated.problems,
        "solved": influences.solved,
        "matter": study.what_matters(helps, *properties[:2], distances),
        "removal": removed.rows(),
        "removed": removed.by,
        "training": properties[0] | study.by_problem(helps),
    }
    tables = {name: pandas.DataFrame(rows) for name, rows in tables.items()}
    for name, table in tables.items():
        run.table(name, table)
    run.tensors("influences", influences.by | {"train.A": A[:N], "test.A": A[N:], "halves": halves, "pull": cosines})
    for name, (met, numbers) in study.verdicts(validated, removed).items():
        run.criterion(name, met, **numbers)
    best = validated.row("gauss_newton", "score_error")
    run.headline("LDS of Gauss-Newton influence on score error", best["lds"], best["low"], best["high"])
    run.metrics({"tracin.from_captum": study.difference_from_captum(networks[0], train[:12], test[:4])})
    run.metrics(study.numbers(influences, validated, removed, measured) | study.pull_numbers(cosines, *kappa[2:]))
    for name, figure, caption in figures.influence_figures(tables, A.numpy(), helps, kappa, cosines):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
