"""Concept activation vectors and what the energy makes of them (TCAV).

cav.py            Concept activation vectors (CAVs): directions in the layers that carry a concept
figures.py        Figures of P3-02: concepts in the layers, and what the energy makes of them
known_answers.py  Known answers of P3-02: planted concepts, confounders, regressions and heads
"""
