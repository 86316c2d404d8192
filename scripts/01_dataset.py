"""SETUP-2: which problems, and what must a model beat?

Draws the fixed problem sets that every seed and variant is compared on (validation, test, and the
out-of-distribution families), describes them, and measures the reference predictors of METHODS §3
on each: zero, the training mean, least squares on A and on [A, A²], and a regression network.
Against: a problem that two of the sets share.
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "SETUP-2",
    fit=Param(200_000, tiny=20_000, help="training problems that the predictors are fitted on"),
    steps=Param(3000, tiny=400, paper=6000, gpu=60_000, help="steps of the regression network, 256 problems each"),
    criteria={
        "splits_share_no_problem": "no problem of the validation, test or harder set occurs in "
        "another, nor among the problems that least squares was fitted on",
    },
)
def main(run):
    import pandas

    from ired.experiments import controls, reference_predictors
    from ired.instruments.accuracy import figures, predictors
    from ired.instruments.statistics.intervals import mean_interval
    from ired.model import problems

    n, c = run.profile.problem.n, run.profile.problem.c
    count = run.profile.evaluation.problems
    families = {"test": "same", "validation": "same"} | {name: name for name in problems.FAMILIES}
    sets = {
        name: problems.FAMILIES[family](count, n, c, problems.generator(run.seed, name))
        for name, family in families.items()
        if name != "same"
    }
    digests = [row.tobytes() for A in sets.values() for row in A.numpy()]
    held_out = set(digests)
    fitted, shared = reference_predictors.fitted(run, held_out)

    # How far off each of them is, and what the problems are like.
    rows, kinds, errors = [], [], {}
    for family, A in sets.items():
        Y = problems.inverse(A)
        for name, predict in fitted.items():
            errors[f"{family}.{name}"] = predict.mse(A, Y)
            error = mean_interval(errors[f"{family}.{name}"])
            rows.append({"family": family, "predictor": name} | error.row("mse"))
        described = problems.properties(A)
        kinds += [{"family": family} | {k: v[i].item() for k, v in described.items()} for i in range(min(len(A), 1000))]
        run.metrics({f"{family}.median_{k}": v.median() for k, v in described.items()})
        run.dataset(f"{family} n={n}", problems.problem_digest(A), family, "ired.model.problems.FAMILIES")
    run.tensors("problems", {f"{f}.A": A for f, A in sets.items()}, meta={"n": n, "c": c, "seed": run.seed})
    run.tensors("errors", errors)
    controls.log_controls(run, fitted)
    table, kinds = pandas.DataFrame(rows), pandas.DataFrame(kinds)
    run.table("predictors", table)
    run.table("properties", kinds)
    run.metrics({f"mse.{row['family']}.{row['predictor']}": row["mse"] for row in rows})
    run.figure(
        "properties",
        figures.plot_problem_properties(kinds),
        f"Empirical distributions over up to 1000 problems of each family (n = {n}).",
    )
    run.figure(
        "predictors",
        figures.plot_predictors(table[table["family"] != "validation"]),
        f"MSE per entry of A⁻¹ of predictors fitted on {run.params.fit} training problems (the network "
        f"on {predictors.BATCH * run.params.steps}), with 95 % intervals over problems.",
    )

    run.criterion(
        "splits_share_no_problem",
        len(held_out) == len(digests) and not shared,
        problems=len(digests),
        fitted_on=run.params.fit,
    )
    same = table[(table.family == "test") & (table.predictor == "least_squares")]
    run.headline("least squares, MSE", *same[["mse", "low", "high"]].iloc[0])


if __name__ == "__main__":
    main()
