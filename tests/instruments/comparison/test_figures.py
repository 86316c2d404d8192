"""Figures of the comparison show what stands in the tables, whatever is missing from them."""

import itertools

import numpy as np
import pandas
import pytest
from matplotlib.colors import same_color, to_rgba

from ired.instruments.accuracy import figures_training_curves
from ired.instruments.comparison import figures, figures_differences, similarity
from ired.instruments.comparison.paired_seeds import compare_variants
from ired.plotting.style import COLOURS

pytestmark = pytest.mark.usefixtures("no_warnings")

MINING = ("none", "random", "adversarial", "property")
TWELVE = tuple(e + m for e in ("", "polynomial-", "product-") for m in MINING)


def drawn(figure):
    """All texts of a figure, after its layout."""
    figure.draw_without_rendering()
    return words(figure)


def words(figure):
    texts = [
        t.get_text()
        for axis in figure.axes
        for t in (
            *axis.texts,
            *axis.get_yticklabels(),
            *axis.get_xticklabels(),
            axis.xaxis.label,
        )
    ] + [axis.get_title(loc="left") for axis in figure.axes]
    legends = [*figure.legends, *(a.get_legend() for a in figure.axes if a.get_legend())]
    return texts + [text.get_text() for legend in legends for text in legend.get_texts()]


def history(seeds=3, contrastive=0.5, silent=(), steps=5):
    rng, step = np.random.default_rng(0), np.arange(1, steps + 1) * 100.0
    curves, losses = [], []
    for seed in range(seeds):
        fall = np.exp(-step / 200) * np.exp(0.1 * rng.standard_normal(steps))
        alive = np.where((step > 250) & (seed in silent), 1e-6, 1.0)
        curves.append(
            pandas.DataFrame(
                {
                    "seed": seed,
                    "step": step,
                    "sampled_mse": fall,
                    "residual": fall,
                    "energy": 30 * alive,
                    "gradient_norm": 4 * alive,
                    "energy_gap": alive * (1 - fall) - 0.2 * fall,
                    "score_error": np.where(alive < 1, 1.0, fall),
                    "blind_error": 0.7,
                }
            )
        )
        losses.append(
            pandas.DataFrame(
                {
                    "seed": seed,
                    "step": step,
                    "denoising": fall,
                    "contrastive": contrastive * fall,
                    "weight_gradient": fall,
                }
            )
        )
    return pandas.concat(curves), pandas.concat(losses)


def errors(variants, seeds=3, families=("test", "harder")):
    rng = np.random.default_rng(1)
    rows = [
        (v, s, f, steps, 0.01 * 0.3**i * np.exp(0.1 * rng.standard_normal()))
        for i, v in enumerate(variants)
        for s in range(seeds)
        for f in families
        for steps in (0, 50)
    ]
    known = [(f, p, 0.02) for f in families for p in ("least_squares", "mean")]
    return (
        pandas.DataFrame(rows, columns=["variant", "seed", "family", "steps", "mse"]),
        pandas.DataFrame(known, columns=["family", "predictor", "mse"]),
    )


def compared(variants, seeds=3, metrics=4, phases=True):
    rng, rows = np.random.default_rng(2), []
    for m in range(metrics):
        base = 20 + rng.standard_normal(seeds)
        for i, v in enumerate(variants):
            if m == 1 and i == len(variants) - 1 and i > 1:
                continue  # a metric that the last variant has not
            shift = -9.0 * (v == variants[-1]) * (m == 0)
            x = base + shift + 0.3 * rng.standard_normal(seeds) * (v != "none") if m != 2 else 0 * base
            rows += [(v, s, f"metric.{m}", x[s], m % 3) for s in range(seeds)]
    table = pandas.DataFrame(rows, columns=["variant", "seed", "metric", "value", "phase"])
    return compare_variants(table if phases else table.drop(columns="phase"), resamples=50).table


def pairs(variants, seeds=2, every=False, layers=lambda name: name in MINING):
    """A table as `similarity.similarity_table` makes it."""
    rng, rows, models = np.random.default_rng(3), [], list(itertools.product(variants, range(seeds)))
    both = (
        itertools.combinations(models, 2)
        if every
        else ((one.first, one.second) for one in similarity.model_pairs(variants, range(seeds)))
    )
    for (first, s), (second, t) in [*both, (models[0], models[0])]:
        same = (first, s) == (second, t)
        values = {part: 1.0 if same else rng.uniform(0.3, 0.6) for part in similarity.PARTS}
        if not (layers(first) and layers(second)):
            values |= {"features": np.nan, "directions": np.nan}
        other = similarity.BOTH if s != t else similarity.MINING
        kind = similarity.SEEDS if first == second else other
        rows.append(
            {
                "kind": kind,
                "first": first,
                "first_seed": s,
                "second": second,
                "second_seed": t,
                "score": np.nanmean(list(values.values())),
                figures.BEYOND: values["landscape"] ** 2,
                "without_layers": np.mean([values[p] for p in similarity.GENERAL]),
                "landscape.other_problem": 0.25,
                **values,
            }
        )
    return pandas.DataFrame(rows)


def shapes(variants, seeds=2, landscapes=4):
    rows = [
        (v, s, k, m, value)
        for i, v in enumerate(variants)
        for s in range(seeds)
        for k in range(landscapes)
        for m, value in (
            ("curvature", 0.5 + 0.1 * k + 0.01 * s),
            ("nearest minimum", 30 * 0.1 ** (k + i)),
            ("wrong answers", 0.2 * 0.05**k * (k < 2)),
            ("signed", (-40.0) ** k),
        )
    ]
    return pandas.DataFrame(rows, columns=["variant", "seed", "landscape", "measure", "value"])


def figures_of(table):
    forests = (figures_differences.plot_differences(table, measure) for measure in ("d_z", "relative"))
    return figures_differences.plot_difference_heatmap(table), *forests


def panel(figure, title):
    return next(axis for axis in figure.axes if axis.get_title(loc="left") == title)


def marks(axis, kind):
    return [line for line in axis.lines if line.get_marker() == kind]


# Any number of variants


@pytest.mark.slow
@pytest.mark.parametrize(
    "variants, seeds",
    [
        (("none",), 2),
        (MINING, 3),
        (TWELVE, 2),
        (("some", "other", "names", "that", "x"), 2),
    ],
)
def test_every_figure_names_every_variant_as_given(variants, seeds):
    see = drawn if len(variants) in (1, 12) else words  # the layout takes its time
    texts = see(figures.plot_variant_accuracy(*errors(variants, seeds), title="T"))
    assert set(variants) | {"test", "harder"} <= set(texts)
    assert set(variants) <= set(see(figures.plot_variants_by_landscape(shapes(variants, seeds))))
    assert set(variants) <= set(see(figures.plot_consistency(pairs(variants, seeds, every=True))))
    if len(variants) > 1:
        table = compared(["none" if v == "some" else v for v in variants], seeds)
        for figure in figures_of(table):
            assert {"Accuracy", "Phase 1", *variants[1:]} <= set(see(figure))


def test_twelve_variants_look_different():
    look = figures.looks(TWELVE)
    assert len({own.colour for own in look.values()}) == 12
    assert {own.marker for name, own in look.items() if name.startswith("product")} == {"^"}
    assert same_color(look["none"].colour, figures.HUES["none"])
    # The hue stays where other variants are absent.
    assert figures.looks(["adversarial"])["adversarial"] == figures.looks(MINING)["adversarial"]
    others = figures.looks([f"name {i}" for i in range(12)])
    assert len({(own.colour, own.marker) for own in others.values()}) == 12


def test_nothing_to_compare_is_said():
    table = compared(MINING).iloc[:0]
    none = figures.plot_consistency(pairs(("none",)).iloc[-1:])  # a model and itself alone
    for figure in (*figures_of(table), none):
        assert "nothing to compare" in words(figure)


# Training


def test_a_score_that_dies_is_crossed_and_named():
    figure = figures_training_curves.plot_seed_learning_curves(
        *history(silent=(1,)), {"mean": 0.5, "least_squares": 0.3}, "T"
    )
    texts = drawn(figure)
    assert {"seed 0", "seed 1, blind or dead", "seed 2", "Contrastive loss"} <= set(texts)
    axis = panel(figure, "Size of the score there")
    (cross,) = marks(axis, "X")
    assert same_color(cross.get_color(), axis.lines[1].get_color()) and axis.get_yscale() == "log"
    low, high = axis.get_ylim()
    assert low < 4e-6 and high > 4


def test_a_score_that_lives_is_not_crossed_and_its_axis_makes_no_drama():
    figure = figures_training_curves.plot_seed_learning_curves(*history(contrastive=0.0))
    assert "Contrastive loss" not in words(figure) and "Residual" in words(figure)
    assert not [line for axis in figure.axes for line in marks(axis, "X")]
    low, high = panel(figure, "Energy of noised answers").get_ylim()
    assert high / low >= 99


def test_values_that_stop_being_finite_are_crossed_and_absent_columns_left_out():
    curves, losses = history()
    curves.loc[(curves["seed"] == 2) & (curves["step"] > 200), "sampled_mse"] = np.inf
    curves = curves.drop(columns=["score_error", "residual"])
    figure = figures_training_curves.plot_seed_learning_curves(curves, losses[["seed", "step", "denoising"]])
    assert "Score error, k = 0" not in words(figure)
    (cross,) = marks(panel(figure, "Sampled MSE"), "X")
    assert cross.get_xdata() == [200]
    # Models that were handed in have no losses, and perhaps no curve.
    for one, two in ((curves, pandas.DataFrame()), (curves.iloc[:0, :1], pandas.DataFrame())):
        words(figures_training_curves.plot_seed_learning_curves(one, two, {"mean": 1.0}))


# Accuracy


def test_accuracy_shows_seeds_means_and_references():
    table, references = errors(MINING, 4)
    some = (table["variant"] != "random") | (table["family"] == "test")  # one family is missing
    figure = figures.plot_variant_accuracy(table[some], references)
    axis = figure.axes[0]
    own = figures.looks(MINING)["adversarial"].colour
    big = [x for x in marks(axis, "o") if x.get_markersize() > 7 and same_color(x.get_color(), own)]
    here = table[(table["family"] == "test") & (table["variant"] == "adversarial")]
    means = here.groupby("steps")["mse"].mean()
    assert [float(x.get_xdata()[0]) for x in big] == pytest.approx(means.tolist())
    assert [to_rgba(x.get_markerfacecolor()) == to_rgba("white") for x in big] == [True, False]
    dashed = [x for x in axis.lines if x.get_linestyle() == "--"]
    assert [x.get_xdata()[0] for x in dashed] == [0.02]
    assert same_color(dashed[0].get_color(), COLOURS["least_squares"])
    assert axis.get_xscale() == "log"


def test_an_error_of_0_stands_on_the_axis():
    table, references = errors(MINING)
    table.loc[table["variant"] == "property", "mse"] = 0.0
    figure = figures.plot_variant_accuracy(table, references)
    assert "0" in drawn(figure)
    axis = figure.axes[0]
    low, high = axis.get_xlim()
    assert axis.get_xscale() == "symlog" and low < 0 < high
    assert any(x.get_markersize() > 7 and x.get_xdata()[0] == 0 for x in axis.lines)


# Consistency, landscapes


def test_matrices_hold_means_over_pairs_of_seeds_and_no_copies():
    table = pairs(("none", "random"), 3, every=True)
    figure = figures.plot_consistency(table)
    texts = words(figure)
    assert {"a model's copy", "chance", "landscape", "All parts"} <= set(texts)
    alone = (table["first"] == table["second"]) & (table["first_seed"] == table["second_seed"])
    same = table[(table["first"] == "none") & (table["second"] == "none") & ~alone]["score"].mean()
    cross = table[table["first"] != table["second"]]["score"].mean()
    numbers = [t.get_text() for t in figure.axes[0].texts]
    assert numbers[:2] == [f"{same:.2f}", f"{cross:.2f}"] and numbers[2] == numbers[1]
    copies = marks(figure.axes[-1], "D")
    assert copies and all((x.get_xdata() == 1).all() for x in copies)


def test_scores_of_fewer_parts_stay_out_of_the_total_of_all():
    figure = figures.plot_consistency(pairs(("none", "random", "product"), 2))
    ticks = [[t.get_text() for t in axis.get_yticklabels()] for axis in figure.axes]
    assert ticks[0] == ["none", "random"] and ticks[1] == ["none", "random", "product"]


def test_sparse_pairs_are_dots_by_variant_and_controls_are_named():
    table = pairs(TWELVE, 3)
    control = table.iloc[[0]].assign(kind="untrained", second="untrained", score=0.1)
    figure = figures.plot_consistency(pandas.concat([table, control], ignore_index=True))
    texts = words(figure)
    assert "untrained" in texts and set(TWELVE) <= set(texts)
    assert not any(axis.images for axis in figure.axes[1:])
    # The control stands among the parts, not among the variants.
    assert not marks(figure.axes[1], "v") and marks(figure.axes[-1], "v")


def test_landscapes_keep_0_and_both_signs_on_logarithmic_axes():
    figure = figures.plot_variants_by_landscape(shapes(("none", "random")), {"curvature": 1.0})
    assert "ideal landscape" in drawn(figure)
    scales = [axis.get_yscale() for axis in figure.axes]
    assert scales == ["linear", "log", "symlog", "symlog"]
    for axis in figure.axes:
        low, high = axis.get_ylim()
        data = np.concatenate([np.asarray(x.get_ydata(), dtype=float) for x in axis.lines])
        assert low <= data.min() and data.max() <= high
    renamed = shapes(("none",)).rename(columns={"measure": "metric"})
    assert "curvature" in words(figures.plot_variants_by_landscape(renamed[renamed["metric"] == "curvature"]))
