"""P6-04: what survives on problems that are not like those of training?

Families (`ired.model.shifted_problems`): c = 0.1, condition numbers 100 to 1000, eigenvalues near zero, noise
on A (truth: the noisy or the clean A's), embedded smaller problems; another n by a short training of
this run's own (no model of that n lies upstream); inputs without sense apart. Asked: is the model
still better than least squares fitted on the training distribution; which findings of Phases 1 to 3
transfer (rule, chance, interval: `ired.instruments.transfer.score`); does the energy tell a shifted problem
(AUROC, DeLong et al. 1988; after Liu et al. 2020) better than A alone? Against each: a baseline that
does as well, placebos that transfer as often, a fresh draw of the training distribution that is
"detected".
"""

from ired.lab.arguments import Param
from ired.lab.command import command

LAYERS = {"fc1": "P2-02", "fc2": "P2-03", "fc3": "P2-04"}


@command(
    "P6-04",
    problems=Param(200, tiny=30, gpu=300, help="problems of each family: accuracy, detectors"),
    tested=Param(80, tiny=16, help="of these, problems that features are seen on"),
    few=Param(24, tiny=8, help="of these, problems for dictionaries, directions, landscapes"),
    odd=Param(40, tiny=8, help="problems of each input without sense"),
    chosen=Param(300, tiny=60, gpu=800, help="problems that features and directions are settled on"),
    fitted=Param(4000, tiny=400, paper=20000, help="training problems: least squares, Mahalanobis"),
    features=Param(24, tiny=4, help="features of each layer, by gradient × activation on energy gaps"),
    directions=Param(3, tiny=1, help="features, and as many concepts, of P3-05's verdicts"),
    landscapes=Param((0, 4), tiny=(0,), help="where gaps are recovered and shapes measured"),
    other_steps=Param(300, tiny=10, paper=1000, help="training steps of the model at side ⌈n/2⌉"),
    criteria={
        "transfers": "the transfer score, mean over shifted families, is above 0.6: lower 95 % end",
        "transfers_beyond_chance": "that lower end is also above the score of the placebos",
        "energy_detects_shift": "in more than half of the shifted families the AUROC of E at the "
        "sampled answer is above the best of ‖A‖, Mahalanobis distance and condition number, each "
        "turned its best way: DeLong interval of the difference, Bonferroni over families, above 0",
        "null_is_not_detected": "on a fresh draw of the training distribution no detector's interval "
        "excludes ½ (Bonferroni over detectors)",
        "still_better_than_linear": "in every shifted family, noisy ones against either truth, the MSE "
        "is below least squares': paired interval, Bonferroni over families",
        "finite_everywhere": "every answer to every input, also those without sense, is finite",
    },
)
def main(run):
    import pandas
    import torch

    from ired.instruments.dictionaries.sparse_autoencoder import studied
    from ired.instruments.interventions import manifold
    from ired.instruments.transfer import evidence, figures, score, study
    from ired.model import problems, shifted_problems
    from ired.model.reference import panel
    from ired.model.sampling import Sampler

    size, source, n, c = run.params, run.upstream("SETUP-3"), run.profile.problem.n, run.profile.problem.c
    energies = panel(source.path("model.safetensors"), run.seed, run.device)
    model, plain, dictionaries = energies["trained"], energies["untrained"], {}
    sampler, (same, null) = Sampler(**run.profile.sampling), (shifted_problems.IN, shifted_problems.NULL)
    scale = model.schedule.sqrt_alpha_bar[0].item() if sampler.scaled_output else 1.0

    def stream(purpose):
        return problems.generator(run.seed, f"P6-04 {purpose}")

    def draw(count, purpose, side=n):
        return problems.draw(count, side, c, stream(purpose), torch.float64).to(run.device)

    def judge(energy, plain, side):
        A = draw(size.fitted, f"fitted {side}", side)
        return study.Judge.of(energy, plain, sampler, A, problems.inverse(A), stream, scale)

    for layer, up in ((layer, run.upstream(name)) for layer, name in LAYERS.items()):
        packed = up.tensors("dictionaries"), up.meta("dictionaries")
        dictionaries[layer] = studied(up.json("chosen"), packed, source.run_id)
    seen = manifold.nature(model, draw(size.chosen, "chosen"), stream("nature"))
    bench = evidence.settle(
        model,
        plain,
        sampler,
        problems.properties,
        dictionaries,
        run.upstream("P3-05").table("verdicts"),
        seen,
        size.features,
        size.directions,
        size.landscapes,
        stream("bench").initial_seed(),
    )
    families, odd = (
        shifted_problems.drawn(table, count, n, c, stream)
        for table, count in ((shifted_problems.SHIFTED, size.problems), (shifted_problems.PATHOLOGICAL, size.odd))
    )
    every = torch.cat([made.A for made in families.values()])
    run.dataset(f"P6-04 n={n}", problems.digest(every), "fresh, shifted", "ired.model.shifted_problems.SHIFTED")
    own, m = judge(model, plain, n), -(-n // 2)
    with run.progress(len(families), "families") as bar:
        found = study.study(own, families, same, null, bench, size.tested, size.few, bar.update)
    odd = study.pathologies(own, odd, found.usual)
    sections = run.profile.model, run.profile.training
    small = shifted_problems.short_model(m, c, *sections, size.other_steps, run.variant, run.seed, run.device)
    sides = study.other_side(
        judge(small, None, m),
        own,
        lambda A: shifted_problems.embedded(A, n),
        shifted_problems.other_side(m, size.problems, c, stream),
    )
    inside, outside = found.blocks[same], found.outside(same)
    scores = score.summary(inside, outside, (null,), run.seed)
    errors = pandas.concat([found.accuracy, sides], ignore_index=True)
    findings, known = score.table(inside, outside), run.upstream("P1-04").table("summary")
    findings["recorded"] = findings["finding"].map(evidence.recorded(known))
    for name, table in {
        "accuracy": errors,
        "detection": found.detection,
        "odd": odd,
        "transfer": scores,
        "findings": findings,
    }.items():
        run.table(name, table)

    whole, wins = scores[scores["kind"] == "all"].set_index("family"), found.wins(null)
    run.metrics({name: seen["count"] for name, seen in wins.items()})
    total, ceiling = whole.loc["shifted"], whole.loc[null, "score"]
    run.criterion("transfers", total.low > 0.6, score=total.score, low=total.low, ceiling=ceiling)
    run.criterion("transfers_beyond_chance", total.low > total.chance, chance=total.chance)
    seen = wins["energy_ahead_of_inputs"]
    run.criterion("energy_detects_shift", 2 * seen["count"] > seen["of"], **seen)
    run.criterion("null_is_not_detected", wins["null"]["count"] == 0, **wins["null"])
    seen = wins["better"]
    run.criterion("still_better_than_linear", seen["count"] == seen["of"], **seen)
    whole = odd[odd["predictor"] == "model"]["finite"].min()
    run.criterion("finite_everywhere", found.finite and whole == 1, least=whole)
    run.headline("transfer score, shifted families", total.score, total.low, total.high)
    words = f"{size.problems} problems a family; 95 % intervals over problems."
    for name, figure, caption in (
        (
            "accuracy",
            figures.plot_accuracy(errors),
            f"{words} At n = {m} this model is one trained for {size.other_steps} steps only. Dotted: the answer 0.",
        ),
        (
            "transfer",
            figures.plot_transfer(scores),
            "Rule, chance, interval: ired.instruments.transfer.score. "
            "'Same again': a fresh draw of the training distribution. Dotted: 0.6. Grey: not measurable.",
        ),
        ("detection", figures.plot_detection(found.detection), f"{words} In brackets: ½ is not excluded."),
        (
            "odd",
            figures.plot_pathologies(odd),
            f"Medians over {size.odd} problems. Dotted: the answer 0; "
            "the median energy of training problems. Without an inverse ‖AŶ − I‖ cannot vanish.",
        ),
    ):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
