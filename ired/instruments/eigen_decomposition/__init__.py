"""Eigenvalues and eigenvectors of answers and gradients: which of the two is wrong (P4-03).

eigen_exchange.py  Eigenvalue and eigenvector exchange: which of the two is wrong, for errors of any size
eigen_split.py     First-order eigenvalue perturbation: an eigenvalue and an eigenvector part
figures.py         Figures of P4-03: eigenvalues and eigenvectors, where each is wrong
known_answers.py   Known answers of the eigenvalue/eigenvector split: planted, isotropic, ideal
study.py           Eigenvalue and eigenvector parts of scores, of walks to the answer, and of answers (P4-03)
"""
