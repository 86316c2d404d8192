"""P7-04: what do negatives change, in answers and in what is found inside?

Every variant × seed is measured by the instruments of Phases 1 to 6 on the same fresh problems: the
published network without, with random, adversarial and property-guided negatives (ours: along soft
directions of the inverse), and energies of matrix products, which can express it. Paired by seed:
Student's interval (decides), bootstrap, exact sign flips, Benjamini-Hochberg over all cells, the smallest
effect that so many seeds see (`ired.instruments.comparison`). A consistency between 0 and 1
(`ired.instruments.consistency`) says how much two models share. Against: differences no larger than
between seeds; a copy that differs, a model with its weights shuffled that does not.
"""

from ired.lab.command import Param, command

FAMILIES = {"κ 100–300": "kappa_100_300", "κ 300–1000": "kappa_300_1000", "rank n−1, 0.02": "near_singular",
            "noise 0.8c": "noise", "smaller": "smaller"}  # fmt: skip
KIND = "for at least one kind of negatives the {} at equal seeds: Student's 95 % interval {}, and p < 0.05 " \
       "after Benjamini-Hochberg over the kinds"  # fmt: skip


@command(
    "P7-04",
    problems=Param(100, tiny=12, help="problems of each shifted family"),
    fitted=Param(20000, tiny=2000, help="training problems that least squares is fitted on"),
    criteria={
        "only_negatives_differ": "all published networks were trained by one recipe for equally many "
        "steps: nothing but the negatives differs",
        "told_apart": "a copy of a model has consistency 1 with it, one with its weights shuffled below 0.2",
        "mining_helps": KIND.format("sampled MSE on the test set is below that without", "below 0"),
        "mining_helps_without_descent": KIND.format(
            "MSE of denoising alone, without inner descent steps, is below that without", "below 0"),
        "mining_helps_harder": KIND.format("sampled MSE on the harder set is below that without", "below 0"),
        "landscapes_sharpen": KIND.format("curvature × σ at the answer of k = 0 is above that without",
                                          "above 0"),
        "minima_come_nearer": KIND.format("nearest minimum of k = 0 is nearer to the answer than without",
                                          "below 0"),
        "beats_least_squares": "some variant's sampled MSE on the test set is below least squares' by more "
        "than 5 %: t interval over seeds, Bonferroni over variants",
        "products_beat_networks": "an energy of matrix products has a smaller sampled MSE than the best "
        "network of each seed, on both sets: t interval over seeds, Bonferroni over energies",
        "findings_persist": "for every kind of negatives the consistency with no negatives, same seed, is "
        "at most 0.05 below that between seeds without: Welch's 95 % interval",
    },
)  # fmt: skip
def main(run):
    from dataclasses import replace

    import pandas
    import torch

    from ired.experiments.mining import recipe
    from ired.figures import mining as figures
    from ired.instruments import fingerprint, mining_study as study, points, portrait, predictors
    from ired.model import altered, problems, shifted
    from ired.model.architectures import MLP, parse
    from ired.model.checkpoint import load_energy
    from ired.model.reference import controls
    from ired.model.sampling import SamplingConfig, sample

    size, (n, c) = run.params, run.profile.problem.values()
    models, config = run.upstreams("SETUP-3"), SamplingConfig(**run.profile.sampling)
    variants = list(dict.fromkeys(variant for variant, _ in models))
    networks = [variant for variant in variants if parse(variant)[0] == MLP]
    others = [variant for variant in variants if variant not in networks]
    sets, references = run.upstream("SETUP-2").tensors("problems"), run.upstream("SETUP-2").table("predictors")
    kind = run.profile.name.partition("-")[0]
    looked = {"tiny": portrait.TINY, "paper": portrait.PAPER}.get(kind, portrait.Sizes())
    asked = fingerprint.TINY if kind == "tiny" else fingerprint.Size()

    def stream(purpose):
        return problems.generator(run.seed, f"P7-04 {purpose}", "cpu")

    def walk(energy, A, start, inner_steps=None, first=None, callback=None, differentiable=False):
        own = config if inner_steps is None else replace(config, inner_steps=inner_steps)
        return sample(energy, A, own, start=start, first=first, callback=callback,
                      differentiable=differentiable)  # fmt: skip

    def load(model, dtype=torch.float64):
        return load_energy(models[model].path("model.safetensors"), run.device, dtype)

    first = load((study.NONE, next(seed for variant, seed in models if variant == study.NONE)))
    scale = first.schedule.sqrt_alpha_bar[0].item() if config.scaled_output else 1.0
    drawn = {name: (sets[f"{name}.A"][: 5 * size.problems], None) for name in ("test", "harder")}
    shifts = shifted.drawn({name: shifted.SHIFTED[name] for name in FAMILIES}, size.problems, n, c, stream)
    drawn |= {FAMILIES[name]: (family.A, family.Y) for name, family in shifts.items()}
    families = {}
    for name, (A, Y) in drawn.items():
        A = A.double().to(run.device)
        start = points.noise(first, len(A), generator=stream(f"start {name}"), like=A)
        families[name] = A, problems.inverse(A) if Y is None else Y.to(run.device), start
    A = problems.draw(looked.problems, n, c, stream("portrait"), torch.float64).to(run.device)
    scene = portrait.Scene(families, A, stream, scale)
    B = problems.draw(fingerprint.needed(asked), n, c, stream("fingerprint"), torch.float64).to(run.device)
    ground = fingerprint.ground(first, B, problems.properties(B), asked, stream("ground"))
    run.dataset(f"P7-04 n={n}", problems.digest(torch.cat([A, B])), "fresh", "ired.model.problems.draw")

    plain = controls(first, run.seed)
    shuffled = altered.shuffled(first, stream("shuffled"))
    beside = {study.SHUFFLED: shuffled, study.UNTRAINED: plain["untrained"], study.IDEAL: plain["ideal"]}
    numbers, taken, landscapes = {}, {}, []
    with run.progress(len(models) + len(beside), "models") as bar:
        beside = {name: fingerprint.fingerprint(one, ground, walk, asked) for name, one in beside.items()}
        bar.update(len(beside))
        for model, source in models.items():
            energy = load(model)
            seen = portrait.take(energy, walk, scene, looked, bulk=load(model, torch.float32))
            own = taken[model] = fingerprint.fingerprint(energy, ground, walk, asked)
            numbers[model] = seen.numbers | own.scalars
            numbers[model] |= fingerprint.beyond_untrained(own.scalars, beside[study.UNTRAINED].scalars)
            for family in ("test", "harder"):  # on all problems of these sets, as SETUP-3 measured it
                for name, steps in (("mse", 10 * config.inner_steps), ("mse_denoised", 0)):
                    numbers[model][f"accuracy.{name}.{family}"] = source.metrics[f"mse.{family}.steps_{steps}"]
            landscapes.append(seen.tables["landscapes"].assign(variant=model[0], seed=model[1]))
            bar.update(1)
    beside[study.COPY] = taken[study.NONE, min(seed for _, seed in taken)]
    table, landscapes = study.long(numbers), pandas.concat(landscapes, ignore_index=True)
    pairs = study.held_against(taken, networks, others, beside)
    fitted = problems.draw(size.fitted, n, c, stream("fitted"), torch.float64)
    fitted = predictors.fit([(fitted, problems.inverse(fitted))])
    rivals = references[["family", "predictor", "mse"]]
    rivals = rivals[rivals["family"].isin(["test", "harder"])]
    rivals = pandas.concat([rivals, pandas.DataFrame([
        (family, name, one.mse(A, Y).mean().item())
        for family, (A, Y, _) in families.items() if family not in ("test", "harder")
        for name, one in fitted.items()
    ], columns=rivals.columns)], ignore_index=True)  # fmt: skip
    rivals = rivals[rivals["predictor"].isin(["mean", "least_squares", "least_squares_squared"])]
    linear = rivals.set_index(["family", "predictor"])["mse"].loc["test", "least_squares"]
    found = study.Study.of(table, pairs, networks, others, linear,
                           {model: recipe(source) for model, source in models.items()})  # fmt: skip
    accuracy = study.accuracy(table, 10 * config.inner_steps)
    for name, rows in {"models": table, "pairs": pairs, "comparison": found.compared.table,
                       "landscapes": landscapes, "accuracy": accuracy, "references": rivals,
                       "spread": found.spread()}.items():  # fmt: skip
        run.table(name, rows)
    for (variant, seed), values in numbers.items():
        kind, mining = parse(variant)
        told = {"variant": variant, "energy": kind, "mining": mining, "seed": seed}
        run.child(f"{variant} seed {seed}", told, values, tags={"model_run": models[variant, seed].run_id},
                  seed=seed, variant=variant)  # fmt: skip
    for name, (met, behind) in found.verdicts().items():
        run.criterion(name, met, **behind)
    run.metrics(found.numbers())
    run.headline(*found.headline())
    words = f"{len(numbers)} models, {found.seeds} seeds of each variant."
    for name, figure, caption in (
        ("accuracy", figures.accuracy(accuracy, rivals), f"{words} Small dots are seeds, large ones means "
         "with Student's 95 % intervals. Dashed: reference predictors."),
        *((name, figures.differences(rows), f"{words} Differences to none, paired by seed, in their own "
           "deviations. Filled: significant after correction over all cells. Grey: what so few seeds cannot "
           "see with 80 % power.") for name, rows in found.cells()),
        ("changes", figures.heatmap(found.compared.table), f"{words} Differences to none in units of the "
         "deviation between seeds."),
        ("consistency", figures.consistency(pairs), f"{words} What two models share, from 0 to 1, beside a "
         "copy, a model with its weights shuffled, an untrained one and the ideal energy."),
        ("landscapes", figures.landscapes(landscapes), f"{words} Means over seeds with the range of seeds."),
    ):  # fmt: skip
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
