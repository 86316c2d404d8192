"""Which inputs and directions numbers come from: integrated gradients, active subspaces.

active_subspace.py                Which directions an energy's gradient keeps to, and what they are directions of
figures.py                        Figures of attribution: heatmaps of A and y, and what they are held against
figures_active_subspace.py        Figures of P3-03: the directions that the gradient keeps to
integrated_gradients.py           Which entries of problem and state a number of the network comes from
known_answers.py                  Known answers: integrals, Shapley values and sensitivities in closed form
known_answers_active_subspace.py  Known answers: energies with known gradients, planted subspaces
"""
