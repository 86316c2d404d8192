"""SETUP-3: IRED trained on matrix inversion.

Trains the energy of the profile with the mining of the variant (Du et al. 2024, alg. 1), follows it
with learning curves, and measures the sampled error (alg. 2) at 0 to 50 optimisation steps beside
the reference predictors on both distributions. A trained model that is no better than the mean has
learned nothing; one that is no better than least squares is no more than an affine map of A.
"""

from ired.lab.command import Param, command


@command(
    "SETUP-3",
    steps=Param(0, help="training steps; 0 stands for the profile's"),
    checkpoint=Param("", help="take this trained model (safetensors) instead of training one"),
    criteria={
        "beats_mean": "on the test set the sampled MSE is below the mean predictor's: the 95 % "
        "interval of the paired difference over problems lies below 0",
        "beats_least_squares": "the same against least squares on A",
        "harder_beats_least_squares": "the same on the harder set (c = 0.1)",
    },
)
def main(run):
    from dataclasses import replace

    import pandas

    from ired.figures import setup as figures
    from ired.instruments.learning import snapshot
    from ired.instruments.statistics import mean_interval, paired_interval
    from ired.model import checkpoint, problems
    from ired.model.energy import EnergyConfig
    from ired.model.sampling import SamplingConfig, solve
    from ired.model.training import LOSSES, Trainer, TrainingConfig

    upstream, problem = run.upstream("SETUP-2"), run.profile.problem
    sets = upstream.tensors("problems")
    descent = SamplingConfig(**run.profile.sampling)

    def sampled(model, A, inner_steps=descent.inner_steps):
        start = problems.generator(run.seed, "start", run.device)
        return solve(model, A, replace(descent, inner_steps=inner_steps), start)

    if run.params.checkpoint:
        model = checkpoint.load_energy(run.params.checkpoint, run.device, n=problem["n"])
    else:
        config = TrainingConfig(c=problem["c"], mining=run.variant, **run.profile.training)
        config = replace(config, steps=run.params.steps or config.steps)
        energy = EnergyConfig.for_problems(**problem, **run.profile.model)
        trainer = Trainer(energy, config, run.seed, run.device)
        saved = run.workdir("ired.model.training") / "training.safetensors"
        A = sets["validation.A"][:256].to(run.device)
        Y = problems.inverse(A)

        def observe(model):
            seen = (x.float() for x in (A, Y, sampled(model, A)))
            return snapshot(model, *seen, problems.generator(run.seed, "curve", run.device))

        with run.progress(config.steps, f"training, {run.variant} mining") as bar:
            curves = trainer.complete(
                saved, observe, lambda steps, losses: bar.update(steps, denoising=losses[0])
            )
        model = trainer.average

        curves, history = pandas.DataFrame(curves), trainer.history.double()
        window = max(1, len(history) // 200)
        losses = history[: len(history) // window * window].unflatten(0, (-1, window)).mean(1)
        losses = pandas.DataFrame(losses.numpy(), columns=LOSSES)
        losses.insert(0, "step", (losses.index + 1) * window)
        for table, name in ((curves, "curves"), (losses, "losses")):
            run.table(name, table)
            curve = table.set_index("step")
            run.series({f"{name}.{c}": list(curve[c].items()) for c in curve})
    path = run.workdir("ired.model.training") / "model.safetensors"
    checkpoint.save_energy(path, model)
    run.file(path)
    run.file(path.with_suffix(".json"))

    references = upstream.table("predictors")
    means = references.pivot(index="family", columns="predictor", values="mse")
    if not run.params.checkpoint:
        lines = means.loc["validation", ["mean", "least_squares"]].to_dict()
        run.figure(
            "learning_curves",
            figures.training(curves, losses, lines),
            "Averaged weights on 256 validation problems; losses are means over "
            f"{window} steps. Dashed: reference predictors. E, ‖∇E‖ and the gap together show a "
            "score that dies, if it does.",
        )

    rows, errors = [], {}
    for family in ("test", "harder"):
        A = sets[f"{family}.A"]
        Y = problems.inverse(A)
        for inner_steps in range(6):
            error = (sampled(model, A, inner_steps) - Y).pow(2).mean((-2, -1))
            errors[family, inner_steps] = error
            seen = mean_interval(error)
            rows.append((family, 10 * inner_steps, seen.estimate, seen.low, seen.high))
    ladder = pandas.DataFrame(rows, columns=["family", "steps", "mse", "low", "high"])
    run.table("accuracy", ladder)
    run.metrics({f"mse.{f}.steps_{s}": mse for f, s, mse, *_ in rows})
    run.figure(
        "accuracy",
        figures.accuracy(ladder, references[references["family"].isin(["test", "harder"])]),
        "Sampled MSE per entry with 95 % intervals over problems; 10 landscapes times the inner "
        "steps; at 0 steps the answer is denoised only. Dashed: reference predictors.",
    )

    for name, family, rival in (
        ("beats_mean", "test", "mean"),
        ("beats_least_squares", "test", "least_squares"),
        ("harder_beats_least_squares", "harder", "least_squares"),
    ):
        theirs = upstream.tensors("errors")[f"{family}.{rival}"]
        seen = paired_interval(errors[family, descent.inner_steps], theirs)
        numbers = {"difference": seen.estimate, "low": seen.low, "high": seen.high}
        run.criterion(name, seen.high < 0, rival=means.loc[family, rival], **numbers)
    last = ladder[(ladder.family == "test") & (ladder.steps == 10 * descent.inner_steps)].iloc[0]
    run.headline("sampled MSE", last.mse, last.low, last.high)


if __name__ == "__main__":
    main()
