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

    from ired.experiments.earlier_results import dictionary_of_run
    from ired.experiments.out_of_distribution import Setting
    from ired.instruments.transfer import evidence, figures, score, study
    from ired.model import shifted_problems

    size, n = run.params, run.profile.problem.n
    (same, null), side = (shifted_problems.IN, shifted_problems.NULL), -(-n // 2)

    # What is settled on problems of the training distribution: features, directions, predictors.
    setting = Setting.of(run)
    bench = setting.bench({layer: dictionary_of_run(run, exp_id) for layer, exp_id in LAYERS.items()})
    judge = setting.judge(setting.model, setting.untrained, n)

    # What becomes of it on shifted problems, on inputs without sense, and on problems of another side.
    families, senseless = setting.families()
    with run.progress(len(families), "families") as bar:
        outcome = study.study_transfer(
            judge, families, same, null, bench=bench, tested=size.tested, few=size.few, done=bar.update
        )
    odd = study.pathologies(judge, senseless, outcome.usual)
    sides = setting.other_side(judge, side)

    inside, outside = outcome.blocks[same], outcome.outside(same)
    findings = score.transfer_table(inside, outside)
    known = evidence.recorded_findings(run.upstream("P1-04").table("summary"))
    findings["recorded"] = findings["finding"].map(known)
    tables = {
        "accuracy": pandas.concat([outcome.accuracy, sides], ignore_index=True),
        "detection": outcome.detection,
        "odd": odd,
        "transfer": score.transfer_summary(inside, outside, (null,), run.seed),
        "findings": findings,
    }
    for name, table in tables.items():
        run.table(name, table)

    run.metrics({name: wins["count"] for name, wins in outcome.wins(null).items()})
    for name, (met, numbers) in study.transfer_verdicts(outcome, tables["transfer"], odd, null).items():
        run.criterion(name, met, **numbers)
    total = score.by_family(tables["transfer"]).loc["shifted"]
    run.headline("transfer score, shifted families", total.score, total.low, total.high)
    for name, figure, caption in figures.transfer_figures(
        tables, side=side, steps=size.other_steps, problems=size.problems, odd=size.odd
    ):
        run.figure(name, figure, caption)


if __name__ == "__main__":
    main()
