"""SETUP-2: which problems, and what must a model beat?

Draws the fixed problem sets that every seed and variant is compared on (validation, test, and the
out-of-distribution families), describes them, and measures the reference predictors of METHODS §3
on each: zero, the training mean, least squares on A and on [A, A²], and a regression network. At the
sides for which figures are on record the least-squares error is measured anew. Against: a figure
that does not reproduce.
"""

from ired.lab.command import Param, command

# Least squares on A and on [A, A²] at c = 0.5, MSE per entry, and its last digit (METHODS §3).
RECORDED = {
    4: (0.0392, 0.0172, 1e-4),
    6: (0.0305, 0.0153, 1e-4),
    8: (0.0240, 0.0132, 1e-4),
    10: (0.0197, 0.0116, 1e-4),
    20: (0.00956, 0.00653, 1e-5),
}


@command(
    "SETUP-2",
    fit=Param(200_000, tiny=20_000, help="training problems that the predictors are fitted on"),
    steps=Param(4000, tiny=400, paper=8000, help="steps of the regression network, 512 problems each"),
    sides=Param((4, 6, 8, 10, 20), tiny=(4,), help="sides at which recorded figures are checked"),
    criteria={
        "recorded_figures_reproduced": "at every side the recorded least-squares errors lie within "
        "one unit of their last digit plus three standard errors of what is measured",
        "splits_share_no_problem": "no problem of the validation, test or harder set occurs in "
        "another, nor among the problems that least squares was fitted on",
    },
)
def main(run):
    import pandas
    import torch

    from ired.figures import setup as figures
    from ired.instruments import predictors
    from ired.instruments.statistics import mean_interval
    from ired.model import problems

    n, c = run.profile.problem["n"], run.profile.problem["c"]
    count = run.profile.evaluation["problems"]

    def stream(side, seed=0, count=run.params.fit, size=20_000):
        """Batches of training problems with their answers."""
        source = problems.generator(seed, "predictors")
        for start in range(0, count, size):
            A = problems.draw(min(size, count - start), side, c, source, torch.float64)
            yield A, problems.inverse(A)

    families = {"test": "same", "validation": "same"} | {name: name for name in problems.FAMILIES}
    sets = {
        name: problems.FAMILIES[family](count, n, c, problems.generator(run.seed, name))
        for name, family in families.items()
        if name != "same"
    }

    rows, kinds, errors = [], [], {}
    fitted = predictors.fit(stream(n))
    examples = stream(n, seed=2, count=512 * run.params.steps, size=512)
    fitted["regression"] = predictors.Regression(examples, run.profile.model["hidden"])
    for family, A in sets.items():
        Y = problems.inverse(A)
        for name, predict in fitted.items():
            errors[f"{family}.{name}"] = predict.mse(A, Y)
            seen = mean_interval(errors[f"{family}.{name}"])
            rows.append((family, name, seen.estimate, seen.low, seen.high))
        described = problems.properties(A)
        kinds += [
            {"family": family} | {k: v[i].item() for k, v in described.items()}
            for i in range(min(len(A), 1000))
        ]
        run.metrics({f"{family}.median_{k}": v.median() for k, v in described.items()})
        run.dataset(f"{family} n={n}", problems.digest(A), family, "ired.model.problems.FAMILIES")
    run.tensors(
        "problems", {f"{f}.A": A for f, A in sets.items()}, meta={"n": n, "c": c, "seed": run.seed}
    )

    run.tensors("errors", errors)
    table = pandas.DataFrame(rows, columns=["family", "predictor", "mse", "low", "high"])
    kinds = pandas.DataFrame(kinds)
    run.table("predictors", table)
    run.table("properties", kinds)
    run.metrics({f"mse.{family}.{name}": mse for family, name, mse, *_ in rows})
    run.figure("properties", figures.properties(kinds),
               f"Empirical distributions over up to 1000 problems of each family (n = {n}).")  # fmt: skip
    run.figure(
        "predictors",
        figures.predictors(table[table["family"] != "validation"]),
        f"MSE per entry of A⁻¹ of predictors fitted on {run.params.fit} training problems (the network "
        f"on {512 * run.params.steps}), with 95 % intervals over problems.",
    )

    checks = []
    for side in run.params.sides:
        A = problems.draw(40_000, side, c, problems.generator(1, "test"), torch.float64)
        *figures_on_record, digit = RECORDED[side]
        recorded = dict(zip(("least_squares", "least_squares_squared"), figures_on_record))
        checks += predictors.reproduce(recorded, digit, stream(side, seed=1), A, problems.inverse(A))
        for check in checks[-2:]:
            print("  n = {side:2}, {predictor}: {measured:.5f} ± {standard_error:.5f} "
                  "(recorded {recorded})".format(**check))  # fmt: skip
    run.table("recorded_figures", pandas.DataFrame(checks))
    run.criterion(
        "recorded_figures_reproduced", all(check["reproduced"] for check in checks),
        checked=len(checks), worst=max(abs(c["measured"] / c["recorded"] - 1) for c in checks),
    )  # fmt: skip

    seen = [row.numpy().tobytes() for A in sets.values() for row in A]
    held_out = set(seen)
    fitted_too = sum(row.numpy().tobytes() in held_out for A, _ in stream(n) for row in A)
    run.criterion("splits_share_no_problem", len(held_out) == len(seen) and not fitted_too,
                  problems=len(seen), fitted_on=run.params.fit)  # fmt: skip
    same = table[(table.family == "test") & (table.predictor == "least_squares")]
    run.headline("least squares, MSE", *same[["mse", "low", "high"]].iloc[0])


if __name__ == "__main__":
    main()
