"""Shares along A's eigenvectors, of matrices whose shares are known."""

import torch

from ired.instruments.attribution import eigenframe


def test_the_frame_shares_of_the_identity_and_of_a_matrix_itself(ideal, problems, generator):
    n = ideal.coordinates.n
    eye = torch.eye(n, dtype=torch.float64).flatten() / 2
    shares = eigenframe.frame_shares(ideal, problems, ideal.coordinates.to_basis(eye)[None])
    torch.testing.assert_close(shares, torch.full((6, 1, n), 0.25).double())
    unit = problems[0] / problems[0].norm()
    shares = eigenframe.frame_shares(ideal, problems, ideal.coordinates.to_basis(unit.flatten())[None])[0, 0]
    values = torch.linalg.eigvalsh(unit)
    torch.testing.assert_close(shares, values**2)


def test_power_in_the_frame_of_what_lies_in_it(ideal, problems):
    Q = torch.linalg.eigh(problems).eigenvectors
    states = ideal.coordinates.to_basis((Q[:, :, :1] * Q[:, :, :1].mT).flatten(-2))
    power = eigenframe.frame_power(ideal, problems, states[None, :, None])
    expected = torch.zeros(4, 4).double()
    expected[0, 0] = 1
    torch.testing.assert_close(power, expected.expand(1, 6, 4, 4))
