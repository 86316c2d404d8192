"""P7-04: what do negatives change, in answers and in what is found inside?

Every variant × seed is measured by the instruments of Phases 1 to 6 on the same fresh problems: the
published network without, with random, adversarial and property-guided negatives (ours: along soft
directions of the inverse), and energies of matrix products, which can express it. Paired by seed:
Student's interval (decides), bootstrap, exact sign flips, Benjamini-Hochberg over all cells of networks
(other energies apart), the smallest effect that so many seeds see (`ired.instruments.comparison.paired_seeds`). A
consistency between 0 and 1 (`ired.instruments.comparison.similarity`) says how much two models share. Against:
differences no larger than between seeds; a copy that differs, a model with its weights shuffled that
does not.
"""

from ired.lab.arguments import Param
from ired.lab.command import command

KIND = (
    "for at least one kind of negatives the {} at equal seeds: Student's 95 % interval {}, and p < 0.05 "
    "after Benjamini-Hochberg over the kinds"
)


@command(
    "P7-04",
    problems=Param(100, tiny=12, help="problems of each shifted family"),
    fitted=Param(20000, tiny=2000, help="training problems that least squares is fitted on"),
    turns=Param(8, tiny=2, help="turns of a few training steps in which variants' costs are measured"),
    criteria={
        "only_negatives_differ": "all published networks were trained by one recipe for equally many "
        "steps: nothing but the negatives differs",
        "told_apart": "a copy of a model has consistency 1 with it, one with its weights shuffled below 0.2",
        "mining_helps": KIND.format("sampled MSE on the test set is below that without", "below 0"),
        "mining_helps_without_descent": KIND.format(
            "MSE of denoising alone, without inner descent steps, is below that without", "below 0"
        ),
        "mining_helps_harder": KIND.format("sampled MSE on the harder set is below that without", "below 0"),
        "landscapes_sharpen": KIND.format("curvature × σ at the answer of k = 0 is above that without", "above 0"),
        "minima_come_nearer": KIND.format("nearest minimum of k = 0 is nearer to the answer than without", "below 0"),
        "beats_least_squares": "some variant's sampled MSE on the test set is below least squares' by more "
        "than 5 %: t interval over seeds, Bonferroni over variants",
        "products_beat_networks": "an energy of matrix products has a smaller sampled MSE than the best "
        "network of each seed, on both sets: t interval over seeds, Bonferroni over energies",
        "findings_persist": "for every kind of negatives the consistency with no negatives, same seed, is "
        "at most 0.05 below that between seeds without: Welch's 95 % interval",
    },
)
def main(run):
    import pandas

    from ired.experiments.variants import costs, measure_models, rivals
    from ired.instruments.comparison import figures_differences, study
    from ired.model.energies.architectures import parse

    models = measure_models(run, run.params.problems)
    table, landscapes = study.long(models.numbers), pandas.concat(models.landscapes, ignore_index=True)
    pairs = study.held_against(models.taken, models.networks, models.others, models.beside)
    references = rivals(run, models.families, run.params.fitted)
    linear = references.set_index(["family", "predictor"])["mse"].loc["test", "least_squares"]
    comparison = study.VariantStudy.of(
        table=table, pairs=pairs, networks=models.networks, others=models.others, linear=linear, recipes=models.recipes
    )
    accuracy = study.accuracy_rows(table, 10 * run.profile.sampling.inner_steps)
    for name, rows in {
        "models": table,
        "pairs": pairs,
        "comparison": comparison.compared.table,
        "landscapes": landscapes,
        "accuracy": accuracy,
        "references": references,
        "spread": comparison.spread(),
        "costs": costs(run, models.networks + models.others, run.params.turns, 3),
    }.items():
        run.table(name, rows)
    for (variant, seed), values in models.numbers.items():
        energy, mining = parse(variant)
        told = {"variant": variant, "energy": energy, "mining": mining, "seed": seed}
        run.child(
            f"{variant} seed {seed}",
            told,
            values,
            tags={"model_run": models.runs[variant, seed]},
            seed=seed,
            variant=variant,
        )
    for name, (met, behind) in comparison.verdicts().items():
        run.criterion(name, met, **behind)
    run.metrics(comparison.numbers())
    run.headline(*comparison.headline())
    words = f"{len(models.numbers)} models, {comparison.seeds} seeds of each variant."
    for name, figure, caption in figures_differences.mining_figures(comparison, accuracy, references, landscapes):
        run.figure(name, figure, f"{words} {caption}")


if __name__ == "__main__":
    main()
