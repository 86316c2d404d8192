"""Concept activation vectors and what the energy makes of them (TCAV).

cav.py            Concept activation vectors (CAVs): directions that tell the sides of held-out pairs apart
controls.py       Concepts in what a control holds: a regression network's layers, or an affine map's answer
figures.py        Figures of P3-02: concepts in the layers, and what the energy makes of them
known_answers.py  Known answers of P3-02: planted concepts, confounders, regressions and heads
pairs.py          Matched pairs of states that show a concept, and their activations
regions.py        Concept activation regions: whether a concept is a region rather than a direction
regression.py     Regression concept vectors: concepts by degrees
study.py          All that P3-02 measures: concepts of a trained network beside an untrained one
tcav.py           Testing with CAVs: how the energy changes along one, beside random ones
"""
