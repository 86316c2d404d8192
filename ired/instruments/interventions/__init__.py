"""Pushes along directions, counterfactuals, mediation: what causes what.

counterfactuals.py          Pairs of situations that differ in one thing only
figures.py                  Figures of P3-04: what follows a push along a direction
figures_causality.py        Figures of P3-05: what directions cause
known_answers.py            Known answers of P3-04: pushes whose consequences are known
known_answers_causality.py  Known answers of causality: sign flips by hand, a planted mediator
mediation.py                What a direction causes: effects beyond chance, necessity, sufficiency, specificity
pushes.py                   What follows when a network is pushed along a direction
"""
