"""Energies that can be trained: the published network, one that is told no landscape, and those of matrix products.

architectures.py  Which energies can be trained, and what a variant's name means
equilibrium.py    One landscape whose minima are to be the answers: equilibrium matching
equivariant.py    What energies made of matrix products share: invariant scaling of A, and the protocol's methods
mlp.py            IRED's energy for matrix inversion, with its gradient and Hessian in closed form
passes.py         The passes of the energy E = ‖f‖², written out: no autograd graph, no allocation
polynomial.py     An energy that can express the inverse: quadratic in Y, with polynomials of A as coefficients
product.py        An energy of learned matrix products: a small network of (A, Y, I) that can express the inverse
"""
