"""What independently trained networks have in common (P6-01).

effects.py        What directions and dictionaries do in one network, on its own ground
figures.py        Figures of P6-01: what independently trained networks have in common
findings.py       Phase 2's and Phase 3's findings as effects in several networks: which, how large, and how alike
known_answers.py  Known answers, on planted data: matching of networks, and the rule that calls findings robust
matching.py       Matching of directions between networks, and its chance level
rediscovery.py    The directions of Phase 3 and the features of Phase 2, found again in another network
score.py          What of an effect is common to independently trained networks, and when it counts as robust
study.py          All of P6-01: networks, matchings, effects, and what is said of them
"""
