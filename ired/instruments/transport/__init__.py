"""Optimal transport between clouds of answers.

annealing.py       Is the way from guess to answer the shortest one?
answer_clouds.py   Are sampled answers distributed as true ones?
distances.py       Optimal transport between clouds of points: W2 exactly, with entropy, and between Gaussians
energy_ranking.py  Does an answer's energy say how far transport would have to carry it to the truth?
figures.py         Figures of P4-04: distances of clouds, the way between them, and what the energy knows of them
known_answers.py   Known answers of optimal transport: shifts, Gaussians, entropy, straight lines, ideal energies
"""
