"""P1-02: does the gradient point to the answer, and where does following it lead?

∇E at 1000 points per landscape, at distances of 0.1 to 10 noise radii (σ_k·√size, where a typical
noised state lies) from the answers of 50 problems; its error as a denoiser's score beside
predictors that never see A; whether it is the gradient of E at all; and where plain descent ends.
Against the claim that the field leads to the answer: an untrained or A-blind field that points
there as well (at high k the answer is nearly 0 whatever A is), the field of a bowl around a plain
prediction that does, or descents that end elsewhere. (Whether the gradient is one is a check of its
formula, and has no control.)
"""

from ired.lab.arguments import Param
from ired.lab.command import command


@command(
    "P1-02",
    problems=Param(50, tiny=6, help="problems (the unit of all intervals)"),
    count=Param(4, tiny=2, help="points at each distance from each answer"),
    distances=Param((0.1, 0.3, 1.0, 3.0, 10.0), help="distances from the answer in noise radii"),
    steps=Param(300, tiny=60, help="steps of plain descent, at most"),
    criteria={
        "field_is_a_gradient": "asymmetry of the Jacobian, loop integrals, path integrals and the "
        "closed-form Hessian agree with a conservative field to 1e-5, everywhere tested",
        "points_to_the_answer": "one noise radius away, in every landscape, the cosine to the "
        "answer exceeds the untrained network's (paired intervals, Bonferroni over landscapes)",
        "sees_the_problem": "at k = 0 the score error is below that of the best multiple of y, "
        "which never sees A: 95 % interval of the ratio's mean below 1",
        "descent_finds_the_answer": "at k = 0, from one noise radius, descents end on average less "
        "than half a noise radius from the answer: 95 % interval",
        "beyond_controls": "at k = 0, one noise radius away, the cosine to the answer exceeds that of the affine "
        "denoiser and of the regression network: paired 95 % intervals above 0, Bonferroni over both",
    },
)
def main(run):
    from functools import partial

    from ired.experiments.controls import Measure, log_beside_controls, panel
    from ired.instruments.core import states
    from ired.instruments.landscape import figures, study
    from ired.instruments.statistics.intervals import mean_interval
    from ired.instruments.statistics.tables import per_unit, weakest_margin
    from ired.model import problems

    run.gate("SETUP-5")
    energies = panel(run)
    model, params = energies["trained"], run.params
    A = run.upstream("SETUP-2").tensors("problems")["test.A"][: params.problems].to(run.device)
    y0, stream = states.answers(model, A), partial(problems.generator, run.seed)
    with run.progress(len(energies), "field, energies") as bar:
        tables = study.field_tables(
            energies, A, y0, params.distances, count=params.count, steps=params.steps, stream=stream, done=bar.update
        )
    tables |= study.derivative_tables(model, A[:20], y0[:20], stream)
    summary = study.field_summary(tables)
    for name, table in (tables | {"summary": summary}).items():
        run.table(name, table)

    worst = tables["conservation"][["asymmetry", "loop", "path", "hessian"]].max()
    run.criterion("field_is_a_gradient", worst.max() < 1e-5, **worst)
    margin = weakest_margin(tables["field"], "cosine", "trained", "untrained", distance=1.0)
    run.criterion("points_to_the_answer", margin.low > 0, worst=margin.estimate, low=margin.low)
    sharpest = {"energy": "trained", "landscape": 0}
    ratio = mean_interval(per_unit(tables["score"], "relative_shrunk", **sharpest))
    run.criterion("sees_the_problem", ratio.high < 1, ratio=ratio.estimate, high=ratio.high)
    ends = mean_interval(per_unit(tables["descents"], "distance", **sharpest, start=1.0))
    run.criterion("descent_finds_the_answer", ends.high < 0.5, end=ends.estimate, high=ends.high)
    beside = study.field_measures(tables)
    log_beside_controls(run, *(Measure(*measure) for measure in beside.values()))
    run.metrics(study.sharpest_means(beside))
    cosine = mean_interval(per_unit(tables["field"], "cosine", **sharpest, distance=1.0))
    run.headline("cosine to the answer, k=0", cosine.estimate, cosine.low, cosine.high)
    run.figure(
        "gradient_field",
        figures.plot_gradient_field(summary),
        f"Means over {len(A)} problems with 95 % intervals. One noise radius is σ_k·√size. The "
        "score error is relative to the best multiple of y, which never sees A.",
    )


if __name__ == "__main__":
    main()
