"""P3-01: which entries of the problem and of the state do energy, score and answers come from?

Integrated gradients (Sundararajan et al. 2017; captum) of the energy gap to the answer, of entries of
the score and of the sampled answer's error, by every entry of A and y, from four baselines: zero, the
identity, the training mean and random problems (expected gradients), with as many steps as their sum
needs to be right to 1 %; sampled answers are smooth but for changes of which steps are accepted.
Beside them gradient, input × gradient, SmoothGrad and Shapley values, judged by infidelity and
max-sensitivity. Completeness says nothing about validity: that is held against the exact sensitivity
of the inverse, dY = −Y dA Y. Against the claim that the network reads A as inversion does counts that
its sensitivity is no nearer to it than an untrained network's, or than to another problem's.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

ENTRIES = ((0, 0), (0, 1))  # of the score: one on the diagonal, one beside it
ROWS = 64  # samples at once: autograd keeps all their steps


@command(
    "P3-01",
    landscapes=Param((0, 2, 5, 9), tiny=(0, 5), help="landscapes of integrated attributions"),
    problems=Param(24, tiny=6, paper=12, help="problems of integrals and of answers' Jacobians"),
    compared=Param(100, tiny=12, help="problems of plain gradients against the exact sensitivity"),
    sampled=Param(6, tiny=2, paper=3, help="problems whose sampled answers' errors are explained"),
    random=Param(4, tiny=2, help="random problems that paths to each problem start from"),
    judged=Param(8, tiny=3, help="problems that methods are judged on"),
    samples=Param(50, tiny=8, help="noises and orders of features for judging methods"),
    criteria={
        "completeness_below_1_percent": "in at least 95 % of all cases (target, baseline, problem, "
        "landscape) the attributions' sum is within 1 % of the difference explained",
        "score_follows_exact_sensitivity": "at k = 0 the cosine of the score's gradient by A to the "
        "exact one exceeds the untrained network's and the cosine to another problem's exact one: "
        "paired 95 % intervals above 0",
        "answers_follow_exact_sensitivity": "the same for the Jacobian of sampled answers",
    },
)
def main(run):
    from dataclasses import replace
    from functools import partial

    import pandas

    from ired.instruments.attribution import figures, integrated_gradients
    from ired.instruments.core import directions, states
    from ired.instruments.dictionaries.activations import LAYERS
    from ired.model import problems
    from ired.model.reference import panel
    from ired.model.sampling import Sampler

    run.gate("SETUP-5")
    energies = panel(run.upstream("SETUP-3").path("model.safetensors"), run.seed, run.device)
    model, sampler, p = energies["trained"], Sampler(**run.profile.sampling), run.params
    stored = run.upstream("SETUP-2").tensors("problems")
    A, mean = stored["test.A"].to(run.device), problems.mean_diagonal(**run.profile.problem)
    background = stored["validation.A"][: p.random * p.problems].to(run.device)
    background = background.unflatten(0, (p.random, p.problems))
    last, generator = model.schedule.K - 1, problems.generator(run.seed, "attribution")
    scene = partial(integrated_gradients.scene, model, A=A[: p.problems], mean=mean, background=background,
                    generator=generator)  # fmt: skip
    answers = {name: partial(sampler, energy, differentiable=True)
               for name, energy in energies.items()}  # fmt: skip

    truth = {"gradients": integrated_gradients.gradient_agreement(
        energies, A[: p.compared], range(last + 1), ENTRIES, generator)}  # fmt: skip
    scenes = [scene(k) for k in p.landscapes]
    found = integrated_gradients.all_explained(energies, scenes, ENTRIES)
    sharpest, ideal, explained = scenes[0], found.pop("ideal"), found["trained"]
    truth["integrals"] = integrated_gradients.integral_agreement(found, ideal)
    layered = integrated_gradients.layers_explained(model, LAYERS, sharpest)

    few = replace(scene(last), y=states.noise(model, p.problems, generator=generator, like=A))
    truth["jacobians"] = integrated_gradients.jacobian_agreement(answers, model, few.A, few.y, ROWS)
    few = few.first(p.sampled)
    missed = [integrated_gradients.sampled_error(answers["trained"], few.y0)]
    sampled = integrated_gradients.explained(missed, few, most=32, rows=ROWS)
    few = sharpest.first(p.judged)
    targets = integrated_gradients.gap(model, few.k, few.y0), integrated_gradients.score(model, few.k, ENTRIES[1])
    methods = integrated_gradients.judged(model, targets, few, 16, p.samples, run.seed)

    maps, known = integrated_gradients.heatmaps(explained | sampled), integrated_gradients.heatmaps(ideal)
    run.tensors("heatmaps", {" ".join(map(str, name)): values for name, values in maps.items()})
    handed, chance = integrated_gradients.handed_on(model, explained | layered, generator)
    run.tensors("directions", *directions.pack(handed))
    run.table("directions", pandas.DataFrame(directions.table(handed)).assign(chance=chance))
    tables = truth | integrated_gradients.tables(explained, layered | sampled, sharpest.A)
    means, errors = integrated_gradients.summaries(tables, sharpest.k), tables["completeness"]
    for name, table in (tables | {"methods": methods}).items():
        run.table(name, table)
    run.metrics(integrated_gradients.numbers(errors))

    share, worst = errors["error"].lt(integrated_gradients.WITHIN).mean(), integrated_gradients.complete(errors).min()
    run.criterion("completeness_below_1_percent", share >= integrated_gradients.SHARE, share=share,
                  cases=len(errors), worst_target=worst)  # fmt: skip
    for what, rows in (("answers_follow", truth["jacobians"]),
                       ("score_follows", truth["gradients"].query("landscape == 0"))):  # fmt: skip
        seen = integrated_gradients.Margins.of(rows)
        run.criterion(f"{what}_exact_sensitivity", seen.surely(), **seen.numbers())
    own, over, at = seen.cosine, "95 % intervals over problems.", f"k={sharpest.k}"
    run.headline("cosine of ∂score/∂A to the exact one, k=0", own.estimate, own.low, own.high)
    drawn = f"Mean of {p.problems} problems; colours from − to + the number beside a row."
    for name, figure, caption in (
        ("gap", figures.heatmaps(maps, known, "gap"), drawn),
        ("score", figures.heatmaps(maps, known, "off-diagonal score"), drawn),
        ("agreement", figures.agreement(means, errors),
         f"{over} Integrated: {at}, both entries of the score. Dashed: 1 % of what is explained."),
        ("reading", figures.reading(means, methods, model.coordinates.n),
         f"{over} Eigenvectors, methods: {at}; filled the gap, hollow the score. Infidelity 1: blind."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
