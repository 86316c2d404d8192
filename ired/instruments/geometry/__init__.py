"""Geometry of symmetric positive definite matrices: metrics, geodesics, Hessians on the manifold.

answer_errors.py            How far answers are from being SPD, and from the truth in the metrics of SPD
exponential_slices.py       Two-dimensional slices of a landscape through the exponential map of a metric
figures.py                  Figures of P4-01: laws of SPD geometry, and how far answers are from it
figures_geodesics.py        Figures of P4-02: the energy on the manifold of SPD matrices, beside straight lines
geodesics.py                Energies along geodesics of SPD matrices, beside straight lines
geomstats_manifold.py       geomstats' manifold of SPD matrices, asked with tensors
known_answers.py            Known answers of the geometry of SPD matrices: its laws, distances by hand
known_answers_geodesics.py  Known answers: energies whose shape along geodesics is known
metric_laws.py              Laws of the geometry of SPD matrices, as checks on given problems
metrics.py                  Geometry of symmetric positive definite (SPD) matrices, in batches
riemannian_hessian.py       Gradient and Hessian of an energy on the manifold of SPD matrices
spd_states.py               SPD matrices as states of a landscape, and noise beside the cone that they form
study.py                    Does an energy know the manifold? Several energies on the same curves, pairs and slices
"""
