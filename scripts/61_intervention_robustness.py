"""P6-01: which findings are the method's and the task's, and which are one network's?

Directions of Phase 3 and features of Phase 2 again, by the same instruments at reduced sizes, in five
independently trained networks (the first one too) on fresh problems. Their layers have no
common basis: features are matched by their activations on the same tokens (Hungarian; Li et al. 2016,
arXiv 1511.07543), spaces by orthogonal Procrustes, on one half of the problems, judged on the other,
beside tokens shuffled within landscapes and random directions of the covariance. A finding is an effect
with a sign; its robustness score is the share of the effects' mean square that all networks have in
common (`ired.instruments.robustness.score`, with the rule for "robust"). The network is the unit.
Against a finding: its sign changes with the seed, or random directions are as robust.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

SEEDS = (0, 1, 2, 3, 4)
DICTIONARIES = {"fc1": "P2-02", "fc2": "P2-03", "fc3": "P2-04"}


@command(
    "P6-01",
    problems=Param(30, tiny=6, help="fresh problems that directions are moved along"),
    natural=Param(500, tiny=80, paper=400, help="fresh problems whose noised answers are tokens"),
    states=Param(2, tiny=1, help="noised answers of each in a landscape"),
    matched=Param(2400, tiny=400, gpu=4000, help="fresh problems that concepts' pairs are made of"),
    pairs=Param(300, tiny=60, gpu=1000, help="pairs of each concept, at most"),
    caliper=Param(0.3, tiny=0.6, help="distance of matched confounders in deviations, at most"),
    folds=Param(4, tiny=2, help="folds of problems, an even number"),
    integrated=Param(32, tiny=12, help="problems whose attributions are integrated"),
    leading=Param(5, tiny=3, help="components of the gradient that are matched, in a landscape"),
    expansion=Param(2, gpu=4, help="features per neuron"),
    sparsity=Param(32, tiny=8, help="features active per token"),
    steps=Param(250, tiny=12, gpu=600, help="training steps of a dictionary"),
    rate=Param(5e-3, gpu=1e-3, help="learning rate"),
    batch=Param(256, tiny=128, gpu=2048, help="tokens of a step"),
    spliced=Param(20, tiny=6, help="problems on which dictionaries are put into the network"),
    draws=Param(4, tiny=3, help="random directions beside each"),
    criteria={
        "most_findings_robust": "more than 70 % of the findings claimed of the first network are "
        "robust: claimed sign in all five, Student's t over networks with p < 0.05 after "
        "Benjamini-Hochberg over these findings",
        "effects_keep_sign": "claimed effects keep their sign in more than 70 % of the other four "
        "networks: 95 % interval over these networks",
        "features_match_beyond_chance": "in every layer matched features correlate more than shuffled "
        "tokens' and than random dictionaries': 95 % jackknife intervals over networks above 0",
        "robust_beyond_random_directions": "claimed interventions are robust more often than random "
        "directions in their place: exact 95 % intervals do not meet, and the latter's reaches 5 %",
    },
)
def main(run):
    import torch

    from ired.instruments.core import states
    from ired.instruments.robustness import figures, findings, rediscovery, study
    from ired.model import problems
    from ired.model.checkpoint import load_energy
    from ired.model.sampling import AnnealedSampler

    size, n, c = run.params, run.profile.problem.n, run.profile.problem.c
    generator = problems.generator(run.seed, "robustness")
    models = [run.upstream("SETUP-3", seed=seed).path("model.safetensors") for seed in SEEDS]
    energies = [load_energy(model, run.device, torch.float64) for model in models]
    counts = [size.natural, *[size.matched] * len(SEEDS), *[size.problems] * len(SEEDS)]
    drawn = problems.draw(sum(counts), n, c, generator, dtype=torch.float64).to(run.device)
    run.dataset(f"P6-01 n={n}", problems.problem_digest(drawn), "fresh", "ired.model.problems.draw")
    A, *others = drawn.split(counts)
    B, tried = others[: len(SEEDS)], others[len(SEEDS) :]
    traits = [problems.properties(matched) for matched in B]
    conditions = [states.array(problems.properties(moved)["condition_number"]) for moved in tried]
    grounds = rediscovery.grounds(energies[0], A, B, measures=traits, tried=tried, size=size, generator=generator)

    kept = findings.kept_intervals({layer: run.upstream(exp_id).metrics for layer, exp_id in DICTIONARIES.items()})
    verdicts = run.upstream("P3-05").table("verdicts")
    with run.progress(len(SEEDS) * (len(verdicts) + 1), "networks and directions") as bar:
        results = study.study_robustness(
            energies,
            grounds,
            verdicts,
            dictionaries=kept,
            condition=conditions,
            sampler=AnnealedSampler(**run.profile.sampling),
            size=size,
            generator=generator,
            done=bar.update,
        )
    for name, table in results.tables.items():
        run.table(name, table)
    for name, (met, numbers) in results.verdicts().items():
        run.criterion(name, met, **numbers)
    run.metrics(results.numbers())
    share = results.share_robust()
    run.headline("share of claimed findings robust", share.estimate, share.low, share.high)
    words = f"{len(SEEDS)} networks, {size.problems} fresh problems each."
    for name, figure, caption in figures.robustness_figures(results.tables):
        run.figure(name, figure, f"{caption} {words}")
    run.table("problems", dict(zip(map(str, SEEDS), conditions, strict=True)))


if __name__ == "__main__":
    main()
