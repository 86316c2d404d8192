"""Sanity checks: what goes away when what it is said to be about is taken away (P6-03).

figures.py                 Figures of P6-03: which findings survive being doubted
findings_answers.py        Findings about a network's answers, score and energy
findings_geometry.py       Findings of Phases 4 and 5
findings_layers.py         Findings about a network's layers, put through every check: concepts, a push
known_answers.py           Known answers of sanity checks: a map that ignores the network, an affine model
linear_surrogate_study.py  How much of one trained network an affine map of its problems explains
randomisation.py           Does what an instrument shows go away when what it is said to show is gone?
study.py                   All sanity checks of one trained network: cascades, the cells of the table, the verdicts
survival_table.py          One table: finding × check, survived, failed, or not applicable
"""
