"""The energy landscape: slices, gradient field, Hessians, minima (Phase 1).

descent.py                       Barzilai–Borwein gradient descent and Newton's method to critical points
equivariance.py                  Equivariance under orthogonal transformations: is a problem the same one in other axes?
figures.py                       Figures of Phase 1: energy landscapes
figures_surface.py               Surface plots of energy slices, interactive: one self-contained HTML page
gradient_field.py                The gradient field ∇_y E: where it points, whether it is one, where it leads
hessian.py                       Hessian spectra: the curvature of the energy, in units of the ideal 1/σ_k
known_answers.py                 Known answers of slices and of equivariance: quadratic forms, no axes
known_answers_curvature.py       Known answers of Hessians and minima: known spectra, planted valleys and wells
known_answers_gradient_field.py  Known answers of the gradient field: ideal gradients, planted faults
metrics.py                       Landscape metrics: midpoint convexity, sharpness, energy gaps between answers
minima.py                        Minima and their basins, from descents and the inertia of the Hessian
slices.py                        Two-dimensional slices of an energy landscape through the true answer
study.py                         Slices, gradient fields and minima of several energies at once (Phase 1)
study_curvature.py               Hessians of several energies at once (P1-03)
"""
