"""Pushes along directions, counterfactuals, mediation: what causes what.

answer_properties.py        Properties of answers: condition, norm and the like of the problem that one implies
counterfactuals.py          Pairs of situations that differ in one thing only
edits.py                    Activation patching: answers with a coordinate moved, ablated, or taken from a twin
effects.py                  Effects beyond chance, necessity and specificity of directions
figures.py                  Figures of P3-04: what follows a push along a direction
figures_causality.py        Figures of P3-05: what directions cause
known_answers.py            Known answers of P3-04: pushes whose consequences are known
known_answers_causality.py  Known answers of causality: sign flips by hand, a planted mediator
manifold.py                 Distance from the manifold: where activations naturally lie
mediation.py                Causal mediation analysis: which share of an effect runs through a direction
pushes.py                   Activation steering, ablation and patching: what follows along a direction
responses.py                Dose-response curves, and tests against random directions of equal norm
study.py                    The experiments P3-04 and P3-05, step by step
verdicts.py                 Verdicts on directions: does what goes with a property cause it?
"""
