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
    import torch

    from ired.experiments import finite_training
    from ired.instruments.influence import figures, problem_properties, removal, study, validation
    from ired.model import problems

    run.gate("SETUP-5")
    size, generator = run.params, problems.generator(run.seed, "influence")

    # Two networks on all of a finite training set; three on each random half of it.
    world = finite_training.FiniteTraining.of(run, generator)
    halves = validation.halves(size.halves, size.training, generator)
    networks, whole, halved = world.on_halves(halves)

    # Influences on the answers of the two, and whether they predict what training on a half does.
    with run.progress(len(networks), "networks whose influences are computed") as bar:
        influences = study.compute_influences(
            networks,
            world.train,
            world.test,
            sampler=world.sampler,
            dampings=size.dampings,
            rounds=size.rounds,
            tick=bar.update,
        )
    validated = study.validate(influences, halves.numpy(), halved)

    # Retraining without the problems that help most, beside random and harmful ones.
    helps = study.helpfulness(influences, validated.judged)
    arms = removal.arms(torch.as_tensor(helps), size.share, size.sets, generator)
    removed = removal.compare_arms(world.without(arms, size.seeds), size.tests)

    # The same question to SETUP-3's own model, which no finite set made: whose gradients agree?
    cosines, fresh, near = finite_training.pulls_of_studied_model(run, generator)

    train, test, *others = (finite_training.property_arrays(A) for A in (world.A, world.asked, fresh, near))
    kappa = [traits["condition_number"] for traits in (train, test, *others)]
    tables = study.tables(
        influences, validated, helps=helps, removal=removed, train=train, test=test, distances=world.distances()
    )
    for name, table in tables.items():
        run.table(name, table)
    run.tensors("influences", influences.by | world.matrices() | {"halves": halves, "pull": cosines})
    for name, (met, numbers) in study.influence_verdicts(validated, removed).items():
        run.criterion(name, met, **numbers)
    best = validated.row("gauss_newton", "score_error")
    run.headline("LDS of Gauss-Newton influence on score error", best["lds"], best["low"], best["high"])
    run.metrics({"tracin.from_captum": study.difference_from_captum(networks[0], world.train[:12], world.test[:4])})
    run.metrics(study.influence_metrics(influences, validated, removed, whole=whole, halved=halved))
    run.metrics(problem_properties.pull_numbers(cosines, *kappa[2:]))
    A = torch.cat([world.A, world.asked]).numpy()
    for name, figure, caption in figures.influence_figures(tables, A, helps=helps, kappa=kappa, cosines=cosines):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
