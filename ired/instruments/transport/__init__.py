"""Optimal transport between clouds of answers.

annealing.py       Straightness of the annealing path: is the way from guess to answer the shortest one?
answer_clouds.py   Two-sample tests: are sampled answers distributed as true ones?
distances.py       Optimal transport between clouds of points: W2 exactly, with entropy, and between Gaussians
energy_ranking.py  Rank correlation of energies with the distance that transport would have to carry an answer
figures.py         Figures of P4-04: distances of clouds, the way between them, and what the energy knows of them
known_answers.py   Known answers of optimal transport: shifts, Gaussians, entropy, straight lines, ideal energies
study.py           What P4-04 asks of transport: clouds of answers, the way to them, energies; its verdicts
"""
