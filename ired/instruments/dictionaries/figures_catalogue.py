"""The feature catalogue: one page that opens from disk, and two figures of the same records."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from matplotlib.image import imsave
from pandas import DataFrame

from ired.plotting.plots import matrix
from ired.plotting.style import COLOURS, DIVERGING, canvas, centred_norm

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.4rem; }
h3 { font-size: 1rem; margin: 0 0 0.4rem; }
h3 small { font-weight: normal; opacity: 0.75; }
p { max-width: 46rem; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.card { border: 1px solid #8885; border-radius: 8px; padding: 0.8rem; font-size: 0.9rem; min-width: 0; }
.pictures { display: grid; grid-template-columns: repeat(3, 1fr); gap: 0.5rem; margin: 0.5rem 0; }
figure { margin: 0; }
figcaption { font-size: 0.78rem; line-height: 1.25; }
img { width: 100%; aspect-ratio: 1; image-rendering: pixelated; display: block; }
.none { aspect-ratio: 1; display: grid; place-items: center; border: 1px dashed #8888; font-size: 0.78rem; }
.bars { display: block; width: 100%; height: 2.6rem; }
.bars rect { fill: {{ colour }}; }
.bars line { stroke: #8888; }
.rule { font-weight: 600; margin: 0.5rem 0 0.1rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 0.7rem; margin: 0.4rem 0; }
dt { opacity: 0.75; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
details { font-size: 0.85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: right; padding: 0.1rem 0.5rem; white-space: nowrap; }
nav a { margin-right: 1rem; }
@media print { body { max-width: none; margin: 0; } .card { break-inside: avoid; } }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ lead }}</p>
<nav>{% for layer in layers %}<a href="#{{ layer.name }}">{{ layer.name }}</a>{% endfor %}</nav>
<details open><summary>How to read a card</summary>
<p>Features stand in the order of their attribution: the mean size of gradient × activation on the
energy gap to the answer, in units of σₖ, with the sign of its mean (+: the feature raises the energy of a
state above that of the answer). Ablation is the exact change of the gap without the feature.</p>
<p>Pictures are n×n, red above 0 and blue below, each scaled by its own largest entry.
<b>Reads in y</b> and <b>reads in A</b>: by what change of the state, and of the problem, it grows;
<b>writes to the score</b>: how the gradient ∇E of the energy by y changes when it grows. Below each: how much the
one picture says about all tokens on which it fires (1: the same picture on all of them; 0: nothing).</p>
<p>Bars: how often it fires in each landscape, from k = 0 (sharpest) on the left, full height = always.
The rule is a decision tree of depth 3 with at most 4 cases, fitted on half of the problems; its AUROC is that on the other half with a 95 %
interval over problems. It stands beside a random direction of the data's covariance that fires as
often, and beside knowing the landscape alone; “within k” compares only tokens of one landscape, and
“by its pictures” is the AUROC of ⟨reads in y, y⟩ + ⟨reads in A, A⟩ in place of the rule's (in brackets: the random
direction's).</p>
</details>
{% for layer in layers %}<h2 id="{{ layer.name }}">{{ layer.name }}</h2>
<p>{{ layer.note }}</p>
<div class="cards">
{% for c in layer.cards %}<article class="card" id="{{ layer.name }}-{{ c.feature }}">
<h3>{{ c.rank }}. feature {{ c.feature }} <small>attribution {{ c.signed }}{{ c.attribution }} σₖ</small></h3>
<svg class="bars" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="firing rate by landscape: {{ c.rates }}">
<title>firing rate by landscape: {{ c.rates }}</title>
{% for x, width, height in c.bars %}<rect x="{{ x }}" y="{{ (20 - height)|round(2) }}" width="{{ width }}" height="{{ height }}"/>{% endfor %}
<line x1="0" y1="20" x2="100" y2="20"/><line x1="0" y1="0" x2="100" y2="0" stroke-dasharray="1 1"/></svg>
<div class="pictures">
{% for name, picture, agreement in c.pictures %}<figure>
{% if picture %}<img alt="feature {{ c.feature }} {{ name }}" src="data:image/png;base64,{{ picture }}">{% else %}<div class="none">nothing</div>{% endif %}
<figcaption>{{ name }}<br>{{ agreement }}</figcaption></figure>
{% endfor %}</div>
<p class="rule">{{ c.rule }}</p>
<dl>
{% for name, value in c.facts %}<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}</dl>
{% if c.examples %}<details><summary>problems that make it fire most</summary><div class="scroll"><table>
<tr>{% for name in c.example_names %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in c.examples %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table></div></details>
{% endif %}</article>
{% endfor %}</div>
{% endfor %}</body>
</html>
"""
_PICTURES = (
    ("state", "reads in y", "picture_agreement"),
    ("problem", "reads in A", "problem_agreement"),
    ("score", "writes to the score", "score_agreement"),
)


_LEAD = """What the strongest features of each dictionary do, when they fire, and a rule that says so. A
feature is worth its description only where the rule holds on new problems better than that of a random
direction; its picture only where it is alike on most tokens."""


def note(dictionary: str, numbers: Mapping[str, float], swept: Mapping[str, Any] | None, chosen: bool) -> str:
    """A layer in a few sentences; numbers as `Interpretation.summary`; swept: the operating point of
    P2-05 in this layer, if it found one, and whether this dictionary is that."""
    place = "P2-05 found no operating point"
    if swept:
        place = (
            "the operating point of P2-05"
            if chosen
            else (
                "not the operating point of P2-05, {architecture} with {features:.0f} features and an L0 "
                "of {sparsity:.0f}".format(**swept)
            )
        )
        place += "" if swept.get("meets", True) else ", where none meets what was asked for"
    n = {name: _number(value) for name, value in numbers.items()}
    return (
        f"Dictionary {dictionary} ({place}). Attribution and ablation: rank correlation "
        f"{n['agreement']} [{n['agreement_low']}, {n['agreement_high']}], slope {n['slope']} (1: linear, "
        f"0.50: quadratic). {_percent(numbers['with_rule'])} of the features have a rule; median AUROC "
        f"{n['auroc']}, random directions {n['null']}, landscape alone {n['landscape_alone']}, shuffled "
        f"labels {n['shuffled']}; within one landscape {n['within']}, random directions "
        f"{n['null_within']}. Pictures of y on two tokens are alike to {n['picture_agreement']} (random "
        f"directions {n['null_picture_agreement']}), and those of y and A tell firing on new problems with "
        f"AUROC {n['picture_auroc']} (random directions {n['null_picture_auroc']}). The strongest feature "
        f"moves the gap by {numbers['largest']:.2g} σₖ, all together by {numbers['together']:.2g}, and what "
        f"the dictionary leaves over, {_percent(numbers['error_share'])} of the squared activations, by "
        f"{numbers['error']:.2g}; at noise-free answers it leaves over "
        f"{_percent(numbers['error_share_at_answers'])}."
    )


def catalogue_page(title: str, layers: Sequence[Mapping[str, Any]]) -> str:
    """Each layer: name, note, table (one row a feature, as `Interpretation.columns`, with column
    stability), arrays (`Interpretation.arrays`) and examples (columns feature, then what to show)."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    shown = []
    for layer in layers:
        of = layer["examples"].groupby("feature")
        examples = {feature: rows.drop(columns="feature") for feature, rows in of}
        cards = [
            _card(row, {name: values[i] for name, values in layer["arrays"].items()}, examples.get(row["feature"]))
            for i, row in enumerate(layer["table"].to_dict("records"))
        ]
        shown.append({"name": layer["name"], "note": layer["note"], "cards": cards})
    return environment.from_string(_PAGE).render(title=title, lead=_LEAD, layers=shown, colour=COLOURS["trained"])


def _card(row: Mapping[str, Any], arrays: Mapping[str, np.ndarray], examples: DataFrame | None) -> dict:
    rates = arrays["by_landscape"]
    step = 100 / len(rates)
    auroc = "none"
    if np.isfinite(row["auroc"]):
        auroc = f"{row['auroc']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    facts = [
        ("AUROC, held out", auroc),
        ("random direction", _number(row["null"])),
        ("landscape alone", _number(row["landscape_alone"])),
        ("within k", f"{_number(row['within'])} ({_number(row['null_within'])})"),
        ("by its pictures", f"{_number(row['picture_auroc'])} ({_number(row['null_picture_auroc'])})"),
        ("fires on", f"{row['rate']:.1%} of tokens"),
        ("where the rule holds", f"{_percent(row['inside'])}, elsewhere {_percent(row['outside'])}"),
        ("by distance", _trend(arrays["by_distance"])),
        ("noised answer, path", _trend(arrays["by_kind"])),
        ("ablation", f"{_sign(row['ablation_signed'])}{row['ablation']:.2g} σₖ"),
        (row["property"], f"rank correlation {row['rho']:+.2f} (p {row['p']:.1g})"),
        ("cosine over seeds", _number(row["stability"])),
    ]
    table = []
    if examples is not None:
        table = [[_cell(v) for v in values] for values in examples.itertuples(index=False)]
    return {
        "rank": row["rank"],
        "feature": row["feature"],
        "rule": row["rule"],
        "facts": facts,
        "attribution": f"{row['attribution']:.2g}",
        "signed": _sign(row["signed"]),
        "rates": ", ".join(f"{rate:.0%}" for rate in rates),
        "bars": [
            (round((i + 0.1) * step, 2), round(0.8 * step, 2), round(20 * float(rate), 2))
            for i, rate in enumerate(rates)
        ],
        "pictures": [(label, _png(arrays[name]), _number(row[agreement])) for name, label, agreement in _PICTURES],
        "examples": table,
        "example_names": [] if examples is None else list(examples.columns),
    }


def _png(picture: np.ndarray) -> str:
    """One pixel an entry, in the colours of values of both signs; nothing where all entries are 0."""
    if not np.abs(picture).max() > 0:
        return ""
    buffer = io.BytesIO()
    colours = matplotlib.colormaps[DIVERGING](centred_norm(picture)(picture), bytes=True)
    imsave(buffer, np.ascontiguousarray(colours[..., :3]), format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def _sign(value: float) -> str:
    return "−" if value < 0 else "+"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if np.isfinite(value) else "none"


def _percent(value: float) -> str:
    return f"{value:.0%}" if np.isfinite(value) else "none"


def _trend(rates: np.ndarray) -> str:
    return " · ".join(f"{rate:.0%}" for rate in rates)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def plot_ablation_agreement(effects: DataFrame) -> Figure:
    """Attribution against ablation; columns layer, attribution, ablation, top (whether interpreted)."""
    layers = list(dict.fromkeys(effects["layer"]))
    figure, axes = canvas(1, len(layers), (3.9, 3.9), title="Does gradient × activation say what ablation finds?")
    for axis, layer in zip(axes[0], layers, strict=True):
        rows = effects[effects["layer"] == layer]
        values = rows[["attribution", "ablation"]].to_numpy(dtype=float)
        least = 0.5 * values[values > 0].min(initial=1.0)
        ends = np.array([least, 2 * values.max(initial=2 * least)])
        axis.plot(ends, ends, color="0.4", linewidth=1, linestyle=":", zorder=1)
        for top, colour, marker, label in (
            (False, COLOURS["untrained"], "s", "drawn from the others"),
            (True, COLOURS["trained"], "o", "largest attribution"),
        ):
            x, y = np.clip(values[rows["top"].to_numpy(dtype=bool) == top], least, None).T
            axis.scatter(x, y, s=22, color=colour, marker=marker, label=label, linewidth=0.4)
        axis.set(
            xscale="log",
            yscale="log",
            title=layer,
            xlim=ends,
            ylim=ends,
            aspect="equal",
            xlabel="mean |attribution|  (σₖ)",
        )
    axes[0, 0].set_ylabel("mean |ablation|  (σₖ)")
    axes[0, 0].legend(loc="upper left")
    return figure


def plot_strongest_features(layer: str, table: DataFrame, arrays: Mapping[str, np.ndarray], count: int = 12) -> Figure:
    """What the first features of a layer read in y, with how often they fire in each landscape."""
    count = min(count, len(table))
    columns = min(6, count)
    rows = -(-count // columns)
    figure, axes = canvas(
        2 * rows,
        columns,
        (1.75, 1.5),
        height_ratios=[1.7, 1] * rows,
        title=f"{layer}: what the strongest features read in y, and where they fire",
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for i in range(count):
        above, below = axes[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
        for axis in (above, below):
            axis.set_axis_on()
        row, picture = table.iloc[i], arrays["state"][i]
        matrix(above, picture, DIVERGING, centred_norm(picture))
        share = row["picture_agreement"]
        size = f"{_sign(row['signed'])}{row['attribution']:.2g}"
        above.set_title(f"{row['feature']}: {size}", fontsize=10)
        above.set_xlabel("never fired" if not np.isfinite(share) else f"alike: {share:.2f}", fontsize=9)
        rates = arrays["by_landscape"][i]
        below.bar(range(len(rates)), rates, color=COLOURS["trained"], width=0.85)
        below.set(ylim=(0, 1), xticks=[0, len(rates) - 1], yticks=[0, 1])
        below.grid(axis="x", visible=False)
        if i % columns == 0:
            below.set_ylabel("fires", fontsize=9)
        if i // columns == rows - 1:
            below.set_xlabel("landscape k", fontsize=9)
    return figure
