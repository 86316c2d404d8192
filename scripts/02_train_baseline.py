"""SETUP-3: IRED trained on matrix inversion.

Trains the energy of the profile with the mining of the variant (Du et al. 2024, alg. 1), or takes the
model that the project keeps for this profile, variant and seed. Measures the sampled error (alg. 2) at
0 to 50 optimisation steps beside the reference predictors on both distributions, and how much of the
answers is an affine map of A. A trained model that is no better than the mean has learned nothing; one
that is no better than least squares, or affine, is no more than a linear map. What is measured, here and everywhere
after, is a moving average of the weights: if it errs otherwise than the weights at the end of training, findings may
be the average's and not the method's. Then the clean estimate is followed stage by stage: where is the answer lost,
what is remembered of the start, and would stopping earlier, as chosen on other problems, be better? And is the energy
anything but one bowl around linear regression: how affine is its score, how alike are its Hessians, and does it denoise
better than an affine map can?
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
    stop_at=Param(0, choices=tuple(range(10)), help="the last landscape that samples pass; the model stays as it is"),
    followed=Param(1000, tiny=60, gpu=10_000, help="problems whose sampling paths are followed"),
    starts=Param(4, tiny=2, help="starts of each, by which the memory of the start is told"),
    linear=Param(2000, tiny=200, paper=5000, gpu=20_000, help="problems on which it is told how linear the energy is"),
    bent=Param(40, tiny=4, paper=24, gpu=100, help="of these, problems whose Hessians are compared"),
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
        "path_keeps_the_answer": "no stage of the sampling path makes answers worse on the test set: the largest rise "
        "of the error in a denoising step or in the descents of a landscape is not above 0, by its 95 % interval "
        "corrected for their number (Bonferroni)",
        "more_than_affine_score": "the energy is no bowl around linear regression: at noised answers of k = 0 an "
        "affine map of A and y explains less than 95 % of the score's variance on other problems: 95 % interval",
        "beats_affine_denoiser": "in some landscape the denoising loss is below that of the best denoiser that is "
        "affine in A and y: paired intervals over problems, corrected for the number of landscapes (Bonferroni)",
    },
)
def main(run):
    from functools import partial

    import pandas

    from ired.experiments import baseline, linearity
    from ired.instruments.accuracy import figures
    from ired.instruments.accuracy.metrics import accuracy
    from ired.model import problems
    from ired.model.energies.architectures import configured

    upstream = run.upstream("SETUP-2")
    sets, references = upstream.tensors("problems"), upstream.table("predictors")
    reference_errors = references.pivot(index="family", columns="predictor", values="mse")
    answers = baseline.Answers(run, sets)

    # The model: one that is kept or handed in, or a new one.
    energy = configured(run.variant, run.profile.problem, run.profile.model)
    model, provenance = baseline.given_model(run, energy) or baseline.train_energy(
        run, energy, answers, A=sets["validation.A"][:256], reference_errors=reference_errors
    )
    baseline.log_model(run, model, provenance)

    # How accurate its samples are, with more and more steps of descent, and how linear.
    measured, ladder = {}, sorted({0, 1, 2, answers.inner_steps})
    for family in ("test", "harder"):
        A = sets[f"{family}.A"]
        measured[family] = accuracy(partial(answers.sampled, model), A, problems.inverse(A), ladder)
        run.metrics(measured[family].numbers(family))
    errors = pandas.DataFrame({"family": family} | row for family in measured for row in measured[family].rows())
    run.table("accuracy", errors)
    run.figure(
        "accuracy",
        figures.plot_accuracy(errors, references[references["family"].isin(["test", "harder"])]),
        "Sampled MSE per entry with 95 % intervals over problems; 10 landscapes times the inner "
        "steps; at 0 steps the answer is denoised only. Dashed: reference predictors.",
    )

    # Is it better than predictors that know less, and does the average stand for the weights themselves?
    at_the_end = provenance.get("at_the_end", {})
    run.metrics({f"mse_at_the_end.{family}": interval["estimate"] for family, interval in at_the_end.items()})
    verdicts = baseline.baseline_verdicts(measured, answers, model, upstream, at_the_end.get("test", {}))
    verdicts |= baseline.log_sampling_path(run, model, answers, upstream)
    verdicts |= linearity.log_linearity(run, model)
    for name, (met, numbers) in verdicts.items():
        run.criterion(name, met, **numbers)
    averaged = measured["test"].mse[answers.inner_steps]
    run.headline("sampled MSE", averaged.estimate, averaged.low, averaged.high)


if __name__ == "__main__":
    main()
