"""What this project puts to the test: every claim with the criteria that it rests on and what doubts it.

`sentence` says what was measured, in words that are true however it came out; whether the claim stands is for
the rule to say (`ired.report.confidence`). In it, n("P3-01.headline") is a number of that run, i(...)
the same with its interval, p(...) a share in per cent; the name of a criterion gives the numbers behind it.
A criterion of an experiment belongs to a claim of a phase, or to the assumptions or records below, or is a
calibration: a test holds that none is left out.
"""

from __future__ import annotations

from ired.report.claims import answers, concepts, doubts, features, landscape, layers, manifold, negatives

INSTRUMENTS = "SETUP-4"  # every known answer of an instrument is an assumption of all claims
# Without these what an experiment says means little.
ASSUMPTIONS = (
    "SETUP-1.linear_algebra_accurate",
    "SETUP-2.splits_share_no_problem",
    "SETUP-3.beats_mean",
    "SETUP-3.average_agrees",
    "SETUP-5.model_trained",
    "SETUP-5.instruments_calibrated",
    "SETUP-5.queue_consistent",
    "P1-02.field_is_a_gradient",
    "P2-01.stored_is_computed",
    "P2-01.variance_within_landscapes",
    "P2-02.few_dead_features",
    "P2-03.few_dead_features",
    "P2-04.few_dead_features",
    "P3-01.completeness_below_1_percent",
    "P3-04.edits_stay_near_manifold",
    "P4-01.laws_hold",
    "P4-03.first_order_holds",
    "P5-03.idle_ablation_changes_nothing",
    "P5-04.edges_verified",
    "P6-04.null_is_not_detected",
    *(f"P7-0{i}.{name}" for i in (1, 2, 3) for name in ("one_recipe", "every_seed_beats_mean", "score_alive")),
    "P7-04.only_negatives_differ",
    "P7-04.told_apart",
)

# Of a summary, not of the model.
RECORDS = ("P1-05.complete",)

CLAIMS = (
    *answers.CLAIMS,
    *landscape.CLAIMS,
    *features.CLAIMS,
    *concepts.CLAIMS,
    *manifold.CLAIMS,
    *layers.CLAIMS,
    *doubts.CLAIMS,
    *negatives.CLAIMS,
)

PHASES = {  # what each phase asks
    0: "A model is trained, and every instrument is held to answers that are known before it is used.",
    1: "What does the energy look like, and is the answer where it is lowest?",
    2: "Can the layers be written as few features out of many, and do these mean anything?",
    3: "What do energy and answers depend on, which concepts are directions, and which of them cause what?",
    4: "Inverses are positive definite: do the answers, the energy and the descent know?",
    5: "What does each layer add, and what is the energy composed of?",
    6: "Which findings hold in other networks, survive sanity checks, and transfer?",
    7: "What do negatives change, and what would serve better?",
}
# For the first screen, in this order.
HIGHLIGHTS = (
    "more-than-linear",
    "follows-exact-sensitivity",
    "bottom-at-answer",
    "features-are-its-own",
    "concept-mediates",
    "transfers",
    "mining-helps",
    "structure-is-missing",
)
# The answer in a sentence: what holds is said ("perhaps" with low confidence), what does not is denied, what is
# open is left out.
ANSWER = """
{%- if stands("more-than-linear") is none and not divided("more-than-linear") -%}
  Nobody knows yet: the experiments that would tell are missing.
{%- else -%}
  {%- if stands("more-than-linear") -%}
    {{ (perhaps("more-than-linear") ~ "more")|capitalize }} than an affine map of A
  {%- elif divided("more-than-linear") -%}
    In some respects more than an affine map of A, in others not
  {%- else -%}
    Hardly more than an affine map of A
  {%- endif -%}
  {%- if stands("follows-exact-sensitivity") %}: its answers {{ perhaps("follows-exact-sensitivity") }}change with A as
    the exact inverse does{% endif -%}.
  {%- if stands("bottom-at-answer") is not none %} What it knows is
    {% if stands("bottom-at-answer") %}in minima that {{ perhaps("bottom-at-answer") }}lie at the answers
    {%- else %}{{ "in the directions of its gradients and " if stands("points-home") }}not in minima at the answers
    {%- endif -%}.
  {%- endif -%}
  {%- if stands("features-are-its-own") is not none or stands("concept-mediates") is not none %} Inside
    {%- if stands("features-are-its-own") is not none %} there are
      {% if stands("features-are-its-own") %}{{ perhaps("features-are-its-own") -}} sparse features of its own
      {%- else %}no sparse features that other seeds find beyond chance{% endif -%}
    {%- endif -%}
    {%- if stands("concept-mediates") %}{{ ", but" if stands("features-are-its-own") is not none else " are" }}
    {{ perhaps("concept-mediates") }}concept directions that carry part of what they are named after{% endif -%}
    {%- if stands("concept-mediates") is sameas false and stands("features-are-its-own") is none %} no concept
    direction both moves and carries what it is named after{% endif -%}.
  {%- endif -%}
  {%- if stands("transfers") is not none or divided("transfers") %} What is found {{ perhaps("transfers") -}}
    {{ "holds in part" if divided("transfers") else "holds" if stands("transfers") else "does not hold" }} on other
    kinds of problems.{% endif -%}
  {%- if stands("structure-is-missing") %} An energy that can multiply matrices {{ perhaps("structure-is-missing") }}
    does far better.{% endif -%}
  {%- set open = [] -%}
  {%- for name, question in (
    ("bottom-at-answer", "whether its minima lie at the answers"),
    ("features-are-its-own", "whether its sparse features are its own"),
    ("concept-mediates", "whether concept directions carry what they are named after"),
  ) -%}
    {%- if divided(name) %}{% set _ = open.append(question) %}{% endif -%}
  {%- endfor -%}
  {%- if open %} Evidence is divided on {{ open|join(", and on ") }}.{% endif -%}
{%- endif -%}
"""
