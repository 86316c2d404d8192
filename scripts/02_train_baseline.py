"""SETUP-3: IRED trained on matrix inversion.

Trains the energy of the profile with the mining of the variant (Du et al. 2024, alg. 1), or takes the
model that the project keeps for this profile, variant and seed. Measures the sampled error (alg. 2) at
0 to 50 optimisation steps beside the reference predictors on both distributions, and how much of the
answers is an affine map of A. A trained model that is no better than the mean has learned nothing; one
that is no better than least squares, or affine, is no more than a linear map. What is measured, here and everywhere
after, is a moving average of the weights: if it errs otherwise than the weights at the end of training, findings may
be the average's and not the method's.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "SETUP-3",
    steps=Param(0, help="training steps; 0 stands for the profile's"),
    until=Param(0, help="stop here and measure; a later call goes on from here (0: to the end)"),
    learning_rate=Param(0.0, help="0 stands for the profile's"),
    batch=Param(0, help="problems a step; 0 stands for the profile's"),
    precision=Param("float32", choices=("float32", "bfloat16"), help="of matrix products in training"),
    retrain=Param(False, help="train even where the project keeps a model"),
    checkpoint=Param("", file=True, help="take this trained model (safetensors) instead of training one"),
    criteria={
        "beats_mean": "on the test set the sampled MSE is below the mean predictor's: the 95 % "
        "interval of the paired difference over problems lies below 0",
        "beats_least_squares": "on the test set the sampled MSE is below that of least squares on A: the "
        "95 % interval of the paired difference over problems lies below 0",
        "harder_beats_least_squares": "the same on the harder set (c = 0.1): the 95 % interval of the paired "
        "difference to least squares on A lies below 0",
        "more_than_affine": "on the test set the answers recover some of what least squares on A "
        "misses: the 95 % interval of the recovered share lies above 0.05",
        "average_agrees": "on the test set the averaged weights and those at the end of training have the same "
        "sampled MSE: their 95 % intervals overlap (not met where the latter were not kept)",
    },
)
def main(run):
    from dataclasses import asdict, replace
    from functools import partial
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import pandas

    from ired.instruments.accuracy import figures, learning_curve
    from ired.instruments.accuracy.metrics import accuracy
    from ired.instruments.statistics.intervals import mean_interval, paired_interval
    from ired.model import checkpoint, problems
    from ired.model.architectures import configured, trained
    from ired.model.graph_training import trainer
    from ired.model.sampling import SamplingConfig, solve
    from ired.model.training import LOSSES, TrainingConfig

    upstream, problem, params = run.upstream("SETUP-2"), run.profile.problem, run.params
    sets, references = upstream.tensors("problems"), upstream.table("predictors")
    means = references.pivot(index="family", columns="predictor", values="mse")
    descent = SamplingConfig(**run.profile.sampling)

    def sampled(model, A, inner_steps=descent.inner_steps):
        start = problems.generator(run.seed, "start", run.device)
        return solve(model, A, replace(descent, inner_steps=inner_steps), start)

    def errors_of(model, family):
        A = sets[f"{family}.A"]
        return mean_interval((sampled(model, A) - problems.inverse(A)).pow(2).mean((-2, -1)))

    energy = configured(run.variant, problem, run.profile.model)
    kept = None if params.retrain or params.checkpoint else run.kept()
    if params.checkpoint or kept:
        path, provenance = kept or (params.checkpoint, {"checkpoint": params.checkpoint})
        print(f"  takes {path}, trained for {provenance.get('steps', 'an unknown number of')} steps")
        model = checkpoint.load_energy(path, run.device, like=energy)
    else:
        given = {name: getattr(params, name) for name in ("steps", "learning_rate", "batch")}
        config = TrainingConfig(c=problem.c, **trained(run.variant, run.profile.training))
        config = replace(config, precision=params.precision, **{k: v for k, v in given.items() if v})
        training = trainer(energy, config, run.seed, run.device)
        A = sets["validation.A"][:256].to(run.device)
        Y = problems.inverse(A)

        def observe(model):
            seen = (x.float() for x in (A, Y, sampled(model, A)))
            return learning_curve.snapshot(model, *seen, problems.generator(run.seed, "curve", run.device))

        end = min(params.until or config.steps, config.steps)
        work = run.workdir("ired.model.training", "ired.model.graph_training", "ired.instruments.accuracy.learning_curve",
                           ignoring=("until", "retrain", "checkpoint"), goes_on=end < config.steps)
        with run.progress(end, f"training, {run.variant}") as bar:
            curve = training.complete(
                work / "training.safetensors", observe,
                lambda steps, losses: bar.update(steps, denoising=losses[0]), until=end,
            )  # fmt: skip
        model, curves = training.average, pandas.DataFrame(curve)
        losses = pandas.DataFrame(learning_curve.smooth(training.history, LOSSES))
        at_the_end = {family: asdict(errors_of(training.model, family)) for family in ("test", "harder")}
        provenance = {"steps": training.step, "training": asdict(config), "model": model.describe(),
                      "seed": run.seed, "device": run.device, "curve": curve, "at_the_end": at_the_end}  # fmt: skip
        for table, name in ((curves, "curves"), (losses, "losses")):
            run.table(name, table)
            points = table.set_index("step")
            run.series({f"{name}.{c}": list(points[c].items()) for c in points})
        run.figure(
            "learning_curves",
            figures.training(curves, losses, means.loc["validation", ["mean", "least_squares"]].to_dict()),
            "Averaged weights on 256 validation problems; losses are running means. Dashed: reference "
            "predictors. E, ‖∇E‖ and the gap together show a score that dies, if it does.",
        )
    run.json("training", provenance)
    run.metrics({"trained_steps": provenance.get("steps", 0)})
    with TemporaryDirectory(prefix="ired-") as folder:
        path = Path(folder) / "model.safetensors"
        checkpoint.save_energy(path, model)
        run.file(path)
        run.file(path.with_suffix(".json"))

    found, rows, ladder = {}, [], sorted({0, 1, 2, descent.inner_steps})
    for family in ("test", "harder"):
        A = sets[f"{family}.A"]
        seen = found[family] = accuracy(partial(sampled, model), A, problems.inverse(A), ladder)
        rows += [(family, 10 * steps, mse.estimate, mse.low, mse.high) for steps, mse in seen.mse.items()]
        for name, share in (("affine_share", seen.affine), ("recovered", seen.recovered)):
            ends = {"": share.estimate, ".low": share.low, ".high": share.high}
            run.metrics({f"{name}.{family}{end}": value for end, value in ends.items()})
    errors = pandas.DataFrame(rows, columns=["family", "steps", "mse", "low", "high"])
    run.table("accuracy", errors)
    run.metrics({f"mse.{f}.steps_{s}": mse for f, s, mse, *_ in rows})
    run.figure(
        "accuracy",
        figures.accuracy(errors, references[references["family"].isin(["test", "harder"])]),
        "Sampled MSE per entry with 95 % intervals over problems; 10 landscapes times the inner "
        "steps; at 0 steps the answer is denoised only. Dashed: reference predictors.",
    )
    for name, family, rival in (
        ("beats_mean", "test", "mean"),
        ("beats_least_squares", "test", "least_squares"),
        ("harder_beats_least_squares", "harder", "least_squares"),
    ):
        theirs = upstream.tensors("errors")[f"{family}.{rival}"]
        seen = paired_interval(found[family].errors[descent.inner_steps], theirs)
        numbers = {"difference": seen.estimate, "low": seen.low, "high": seen.high}
        run.criterion(name, seen.high < 0, rival=means.loc[family, rival], **numbers)
    gained = found["test"].recovered
    run.criterion("more_than_affine", gained.low > 0.05, recovered=gained.estimate, low=gained.low)
    unaveraged = provenance.get("at_the_end", {})
    run.metrics({f"mse_at_the_end.{family}": seen["estimate"] for family, seen in unaveraged.items()})
    averaged, numbers = found["test"].mse[descent.inner_steps], unaveraged.get("test", {})
    run.criterion(
        "average_agrees", numbers and averaged.low <= numbers["high"] and numbers["low"] <= averaged.high,
        averaged=averaged.estimate, **{name: numbers[name] for name in ("estimate", "low", "high") if numbers},
    )
    run.headline("sampled MSE", averaged.estimate, averaged.low, averaged.high)


if __name__ == "__main__":
    main()
