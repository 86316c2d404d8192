"""Replication over seeds: what independently trained networks have in common (P6-01).

effects.py              Interventions along directions, and spliced dictionaries, in one network
figures.py              Figures of P6-01: what independently trained networks have in common
findings.py             Replication of findings over seeds: effects in several networks, how large, how alike
known_answers.py        Known answers, on planted data: matching of networks, and the rule of robust findings
procrustes_matching.py  Orthogonal Procrustes and one-to-one matching of directions, and their chance levels
rediscovery.py          The directions of Phase 3 and the features of Phase 2, found again in another network
score.py                Student's t over seeds: what of an effect is common to networks, and when it is robust
study.py                All of P6-01: networks, matchings, effects, and what is said of them
"""
