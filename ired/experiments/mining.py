"""What P7-01 to P7-03 share: the models of one kind of negatives, all seeds beside each other.

The models are SETUP-3's, found by their keys, so that nothing is trained twice. Heavy imports wait until
there is work to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ired.lab.usage import METERS

if TYPE_CHECKING:
    from ired.lab.run import Run
    from ired.lab.tracking.result import Result

FAMILIES = ("test", "harder")
CRITERIA = {
    "one_recipe": "all seeds were trained by one recipe, for equally many steps",
    "every_seed_beats_mean": "in every seed the sampled MSE on the test set is below the mean predictor's: "
    "the 95 % interval over problems lies below 0",
    "beats_least_squares": "on the test set the sampled MSE is below least squares' on A: Student's 95 % "
    "interval of the difference over seeds lies below 0",
    "harder_beats_least_squares": "the same on the harder set (c = 0.1)",
    "descent_helps": "on the test set the sampled MSE is below that of denoising alone, without the inner "
    "descent steps: Student's 95 % interval of the difference over seeds lies below 0",
    "score_alive": "in every seed the score at k = 0 is nearer to the noise than the best multiple of the "
    "state is, which is blind to A: a score that died (a null predictor) is not",
}


def recipe(result: Result) -> dict[str, Any]:
    """How a model was trained: steps, the sections "training" and "model". Mining left out, so that
    models which differ in their negatives alone have one recipe."""
    provenance = result.json("training")
    training = {name: v for name, v in provenance.get("training", {}).items() if name != "mining"}
    return {"steps": provenance.get("steps"), "training": training, "model": provenance.get("model")}


def present(run: Run, variant: str) -> None:
    """Log the models of a variant: a child run for each seed, all of them together in this one."""
    import pandas

    from ired.instruments.accuracy import figures_training_curves as figures
    from ired.instruments.statistics.intervals import student_interval

    models = {seed: model for (_, seed), model in run.upstreams("SETUP-3").items()}
    references = run.upstream("SETUP-2").table("predictors")
    rivals = references.pivot(index="family", columns="predictor", values="mse")
    recipes = {seed: recipe(model) for seed, model in models.items()}
    first = next(iter(recipes.values()))
    accuracy, curves, losses = [], [], []
    for seed, model in models.items():
        ladder = model.table("accuracy")
        accuracy.append(ladder.assign(seed=seed, variant=variant))
        provenance = model.json("training")
        curve = pandas.DataFrame(provenance.get("curve", []))
        curves.append(curve.assign(seed=seed))
        if not {"sha256", "checkpoint"} & set(provenance):  # of a model that was kept or handed in none are left
            losses.append(model.table("losses").assign(seed=seed))
        options = {name: v for name, v in recipes[seed]["training"].items() if not isinstance(v, list)}
        measured = {
            name: v
            for name, v in model.metrics.items()
            if name.split(".")[0] in ("mse", "recovered", "affine_share", *METERS)
        }
        points = (
            {}
            if curve.empty
            else {name: list(zip(curve["step"], curve[name], strict=True)) for name in curve if name != "step"}
        )
        run.child(
            f"{variant} seed {seed}",
            options | {"mining": variant, "seed": seed, "steps": recipes[seed]["steps"]},
            measured,
            points,
            {"model_run": model.run_id},
            seed=seed,
            variant=variant,
        )
    accuracy, curves = (pandas.concat(tables, ignore_index=True) for tables in (accuracy, curves))
    losses = pandas.concat(losses, ignore_index=True) if losses else pandas.DataFrame()
    for name, table in (("accuracy", accuracy), ("curves", curves), ("losses", losses)):
        run.table(name, table)

    def at(family: str, steps: int) -> Any:
        rows = accuracy[(accuracy["family"] == family) & (accuracy["steps"] == steps)]
        return rows.set_index("seed")["mse"].to_numpy()

    full = int(10 * run.profile.sampling.inner_steps)
    for family in FAMILIES:
        for steps in (0, full):
            run.metrics(student_interval(at(family, steps)).metrics(f"mse.{family}.steps_{steps}"))
    run.criterion("one_recipe", all(other == first for other in recipes.values()), seeds=len(recipes))
    run.criterion(
        "every_seed_beats_mean",
        all(model.criteria["beats_mean"] for model in models.values()),
        seeds=sum(model.criteria["beats_mean"] for model in models.values()),
    )
    for name, difference in (
        ("beats_least_squares", at("test", full) - rivals.loc["test", "least_squares"]),
        ("harder_beats_least_squares", at("harder", full) - rivals.loc["harder", "least_squares"]),
        ("descent_helps", at("test", full) - at("test", 0)),
    ):
        interval = student_interval(difference)
        run.criterion(name, interval.high < 0, **interval.row("difference"))
    last = curves.groupby("seed").last() if len(curves) else pandas.DataFrame(columns=["score_error", "blind_error"])
    alive = last["score_error"] < last["blind_error"]
    run.criterion("score_alive", len(alive) == len(models) and alive.all(), seeds=int(alive.sum()))
    error = student_interval(at("test", full))
    run.headline(f"sampled MSE, {len(models)} seeds", error.estimate, error.low, error.high)
    run.figure(
        "training",
        figures.plot_seed_learning_curves(
            curves, losses, rivals.loc["validation", ["mean", "least_squares"]].to_dict()
        ),
        f"{variant}: every seed's averaged weights on 256 validation problems; losses are running means. "
        "Dashed: reference predictors. A score that dies would show in E, ‖∇E‖ and the gap together.",
    )
