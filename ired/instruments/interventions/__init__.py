"""Pushes along directions, counterfactuals, mediation: what causes what.

answer_properties.py        Properties of answers: condition, norm and the like of the problem that one implies
counterfactuals.py          Counterfactual pairs: situations that differ in one thing only
edits.py                    Activation patching: answers with a coordinate moved, ablated, or taken from a twin
effects.py                  Effects, necessity and specificity of directions, beside random directions of the same space
figures.py                  Figures of P3-04: what follows a push along a direction
figures_causality.py        Figures of P3-05: what directions cause
known_answers.py            Known answers of activation steering: pushes whose consequences are known
known_answers_causality.py  Known answers of causal mediation: sign flips by hand, a planted mediator
manifold.py                 Mahalanobis distance from the activation manifold: where activations of noised answers lie
mediation.py                Causal mediation analysis: which share of an effect runs through a direction
pushes.py                   Activation steering, ablation and patching: what follows along a direction
responses.py                Dose-response curves of directions, and tests against random directions of equal norm
study.py                    Interventions and causal mediation step by step (P3-04, P3-05)
verdicts.py                 Causal verdicts on directions: does what goes with a property cause it?
"""
