"""Sanity checks: what goes away when what it is said to be about is taken away (P6-03).

figures.py                 Figures of P6-03: which findings survive being doubted
findings_answers.py        Sanity checks of findings about a network's answers, score and energy
findings_geometry.py       Sanity checks of findings of Phases 4 and 5
findings_layers.py         Sanity checks of findings about a network's layers: concepts, a push, dictionaries
known_answers.py           Known answers: a map that ignores the network, an affine model, a blind energy
linear_surrogate_study.py  Linear surrogate: how much of a trained network an affine map of its problems explains
randomisation.py           Model parameter randomisation test (Adebayo et al. 2018): how maps decay
study.py                   Sanity checks of one trained network: cascades, the cells of the table, the verdicts
survival_table.py          One table: finding × check, survived, failed, or not applicable
"""
