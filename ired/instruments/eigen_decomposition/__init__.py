"""Eigenvalues and eigenvectors of answers and gradients: which of the two is wrong (P4-03).

eigen_exchange.py  How wrong an answer's eigenvalues are, and how wrong its eigenvectors
eigen_split.py     Errors and gradients split into an eigenvalue and an eigenvector part, to first order
figures.py         Figures of P4-03: eigenvalues and eigenvectors, where each is wrong
known_answers.py   Known answers of the eigenvalue/eigenvector split: planted, isotropic, ideal
study.py           What P4-03 asks of eigenvalue and eigenvector parts
"""
