"""Which inputs and directions numbers come from: integrated gradients and other explainers, active subspaces.

active_subspace.py                Active subspaces: which directions an energy's gradient keeps to
active_subspace_study.py          All that P3-03 measures: active subspaces of several energies, and what they are of
alignment.py                      Directions in the layers led back to the state, and their alignment with components
eigenframe.py                     How much of a direction or field lies along each problem's eigenvectors
exact_sensitivity.py              dY = −Y dA Y, the ground truth that attributions and subspaces are held against
explainers.py                     Gradient, SmoothGrad and Shapley values, judged by infidelity and max-sensitivity
figures.py                        Figures of attribution: heatmaps of A and y, and what they are held against
figures_active_subspace.py        Figures of P3-03: the directions that the gradient keeps to
integrated_gradients.py           Integrated gradients: which entries of problem and state a number comes from
known_answers.py                  Known answers: integrals, Shapley values and sensitivities in closed form
known_answers_active_subspace.py  Known answers: energies with known gradients, planted subspaces
study.py                          All that P3-01 measures: attributions and explainers beside the exact sensitivity
tables.py                         What attributions say: completeness, shares, A's eigenvectors, baselines
"""
