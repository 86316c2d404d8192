"""Reference predictors recover what is planted, and reproduce the measured figures."""

import numpy as np
import pytest
import torch

from ired.instruments.accuracy import predictors
from ired.model import problems


def spd(count, n, c, generator):
    R = torch.rand(count, n, n, generator=generator, dtype=torch.float64) * 2 - 1
    return 2 * R @ R.mT + c * torch.eye(n, dtype=torch.float64)


def symmetric(*shape, generator):
    X = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return (X + X.mT) / 2


def batches(A, Y, size=500):
    return zip(A.split(size), Y.split(size), strict=True)


def test_a_planted_affine_map_of_a_is_recovered(generator):
    A = spd(3000, 4, 0.5, generator)
    M = torch.randn(16, 16, generator=generator, dtype=torch.float64)
    offset = symmetric(4, 4, generator=generator)
    Y = (A.flatten(1) @ M).unflatten(1, (4, 4)) + offset
    Y = (Y + Y.mT) / 2
    found = predictors.affine_predictors(batches(A, Y))
    for name in ("least_squares", "least_squares_squared"):
        torch.testing.assert_close(found[name](A), Y, rtol=0, atol=1e-7)
    assert found["mean"].mse(A, Y).mean() > 0.1


def test_a_planted_quadratic_map_needs_the_square(generator):
    A = spd(3000, 4, 0.5, generator)
    Y = 0.3 * A @ A - A + 2 * torch.eye(4, dtype=torch.float64)
    found = predictors.affine_predictors(batches(A, Y))
    torch.testing.assert_close(found["least_squares_squared"](A), Y, rtol=0, atol=1e-6)
    assert found["least_squares"].mse(A, Y).mean() > 1e-2


def test_zero_and_mean_are_what_they_are_called(generator):
    A = spd(1000, 3, 0.5, generator)
    Y = torch.linalg.inv(A)
    found = predictors.affine_predictors(batches(A, Y, 300))
    assert (found["zero"](A) == 0).all()
    torch.testing.assert_close(found["mean"](A[:5]), Y.mean(0).expand(5, 3, 3))
    torch.testing.assert_close(found["zero"].mse(A, Y), Y.pow(2).mean((-2, -1)))


def test_the_fit_is_ordinary_least_squares(generator):
    A = spd(400, 3, 0.5, generator)
    Y = torch.linalg.inv(A)
    found = predictors.affine_predictors(batches(A, Y, 130))["least_squares"]
    rows, cols = np.triu_indices(3)
    X = np.concatenate([np.ones((400, 1)), A.numpy()[:, rows, cols]], axis=1)
    expected = X @ np.linalg.lstsq(X, Y.numpy().reshape(400, -1), rcond=None)[0]
    np.testing.assert_allclose(found(A).numpy().reshape(400, -1), expected, atol=1e-7)


def test_fewer_problems_than_features_are_interpolated(generator):
    A = spd(12, 4, 0.5, generator)
    Y = torch.linalg.inv(A)
    found = predictors.affine_predictors(batches(A, Y))["least_squares_squared"]
    torch.testing.assert_close(found(A), Y, rtol=0, atol=1e-6)
    assert found.weights.norm() < 100


def test_predictions_are_symmetric_and_of_the_type_that_is_asked(generator):
    A = spd(500, 4, 0.5, generator)
    found = predictors.affine_predictors(batches(A, torch.linalg.inv(A)))
    for predictor in found.values():
        Y = predictor(A.float())
        assert Y.dtype == torch.float32 and Y.shape == A.shape
        assert (Y == Y.mT).all()


# n: least squares on A at c = 0.5 and 0.1, on [A, A²] at c = 0.5 (METHODS 3), as measured with 200 000 problems.
MEASURED = {
    4: (0.0392, 1.90, 0.0172),
    6: (0.0305, 1.13, 0.0153),
    8: (0.0240, 0.763, 0.0132),
    10: (0.0197, 0.560, 0.0116),
    20: (0.00956, 0.2075, 0.00653),
}


@pytest.mark.slow
@pytest.mark.parametrize("n", MEASURED)
def test_measured_figures_are_reproduced(n):
    generator = problems.generator(1, "measured figures")

    def draw(count, c=0.5):
        A = problems.draw(count, n, c, generator, torch.float64)
        return A, problems.inverse(A)

    fitted = 40_000
    found = predictors.affine_predictors(draw(10_000) for _ in range(fitted // 10_000))
    linear, harder, squared = MEASURED[n]
    half = n * (n + 1) // 2
    for name, value, features, c in (
        ("least_squares", linear, half, 0.5),
        ("least_squares", harder, half, 0.1),
        ("least_squares_squared", squared, 2 * half, 0.5),
    ):
        error = found[name].mse(*draw(10_000, c))
        # Fewer problems than on record cost features/fitted of the error, as in theory.
        value *= 1 + features / fitted
        room = 0.005 * value + 4 * error.std() / len(error) ** 0.5  # one unit of the last digit, chance
        assert abs(error.mean() - value) < room, (name, c, error.mean(), value, room)


def test_nothing_to_fit_is_said():
    with pytest.raises(ValueError, match="no problems"):
        predictors.affine_predictors([])


def test_the_regression_network_learns_what_least_squares_cannot(generator):
    def stream(count):
        for _ in range(count):
            A = spd(256, 2, 0.5, generator)
            yield A, torch.linalg.inv(A)

    network = predictors.RegressionNetwork(stream(600), hidden=32, steps=600)
    A, Y = next(stream(1))
    assert torch.equal(network(A), network(A).mT) and network(A).dtype == A.dtype
    linear = predictors.affine_predictors(stream(20))["least_squares"]
    assert network.mse(A, Y).mean() < 0.25 * linear.mse(A, Y).mean()


def test_the_regression_network_finds_a_planted_affine_map_and_a_seed_repeats_it(generator):
    A = spd(20_000, 3, 0.5, generator)
    Y = 2 * A + 3
    networks = [predictors.RegressionNetwork(batches(A, Y, 100), 32, steps=200, seed=seed) for seed in (0, 0, 1)]
    errors = [network.mse(A, Y).mean() / Y.var(0).mean() for network in networks]
    assert max(errors) < 5e-3
    assert errors[0] == errors[1] != errors[2]


def test_the_regression_network_can_be_differentiated(generator):
    A = spd(100, 3, 0.5, generator)
    network = predictors.RegressionNetwork(batches(A, A, 10), 8, steps=10)
    problem = A[0].requires_grad_()
    network(problem[None]).sum().backward()
    assert problem.grad.abs().max() > 0


def test_a_stream_that_ends_too_early_is_said(generator):
    A = spd(100, 3, 0.5, generator)
    for short in (batches(A, A, 10), []):
        with pytest.raises(ValueError, match="11 steps cannot"):
            predictors.RegressionNetwork(short, 8, steps=11)


@pytest.fixture(scope="module")
def plain_network():
    A = spd(4000, 3, 0.5, torch.Generator().manual_seed(5))
    drawn = zip(A.split(100), torch.linalg.inv(A).split(100), strict=True)
    network = predictors.RegressionNetwork(drawn, hidden=16, steps=40)
    return predictors.RegressionNetwork.restored(network.tensors(), torch.float64)


def test_layers_of_a_regression_network_end_in_its_answer(plain_network, generator):
    A = spd(9, 3, 0.5, generator)
    layers = plain_network.layers(A)
    assert {name: tuple(h.shape) for name, h in layers.items()} == {
        "fc1": (9, 16),
        "fc2": (9, 16),
        "fc3": (9, 16),
        "f": (9, 6),
    }
    upper = layers["f"] * plain_network.tensors()["y.std"] + plain_network.tensors()["y.mean"]
    torch.testing.assert_close(predictors.matrices(upper, 3), plain_network(A))


def test_a_network_with_a_linear_layer_is_what_least_squares_makes_of_it(plain_network, generator):
    A, others = spd(300, 3, 0.5, generator), spd(20, 3, 0.5, generator)
    whole = plain_network(others)
    for layer in ("fc1", "fc2", "fc3"):
        linear = plain_network.made_linear(layer, A)
        before, h = (network.layers(A)[layer] for network in (linear, plain_network))
        torch.testing.assert_close(before.mean(0), h.mean(0))  # least squares with an intercept
        missed = (linear(others) - whole).abs().max()
        assert 1e-6 < missed < whole.abs().max()
    # The original is as it was.
    torch.testing.assert_close(plain_network(others), whole, rtol=0, atol=0)
    with pytest.raises(ValueError, match="do not fix"):
        plain_network.made_linear("fc2", A[:17])


def test_every_layer_of_a_linear_network_may_be_linear(plain_network, generator):
    """A known answer: on a network without bends nothing changes."""
    tensors = dict(plain_network.tensors())
    tensors["0.bias"] = tensors["0.bias"] + 1e4  # far up, a swish is the identity
    tensors["2.weight"] = tensors["2.weight"] * 1e-4
    flat = predictors.RegressionNetwork.restored(tensors, torch.float64)
    A, others = spd(300, 3, 0.5, generator), spd(20, 3, 0.5, generator)
    torch.testing.assert_close(flat.made_linear("fc1", A)(others), flat(others), rtol=0, atol=1e-8)
