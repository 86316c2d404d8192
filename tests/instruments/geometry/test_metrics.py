"""The four metrics: their laws, geomstats to 1e-8, and what is refused."""

import numpy as np
import pytest
import torch

from ired.instruments.geometry import metrics
from ired.instruments.geometry.metrics import METRICS
from ired.model import problems

AFFINE, LOG, BURES, STRAIGHT = METRICS.values()
every = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def drawn(count, n=4, c=0.5, purpose="spd"):
    return problems.draw(count, n, c, problems.generator(0, purpose), torch.float64)


def tangents(count, n=4, purpose="tangents"):
    V = torch.randn(count, n, n, generator=problems.generator(0, purpose), dtype=torch.float64)
    return metrics.symmetric(V)


def close(a, b, tolerance=1e-8):
    b = b if torch.is_tensor(b) else torch.tensor(np.array(b))
    torch.testing.assert_close(a, b.to(a.dtype), rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def geomstats():
    from geomstats.geometry import spd_matrices as g

    kinds = (g.SPDAffineMetric, g.SPDLogEuclideanMetric, g.SPDBuresWassersteinMetric, g.SPDEuclideanMetric)
    made = {}
    for name, kind in zip(METRICS, kinds, strict=True):
        space = g.SPDMatrices(4, equip=False)
        space.equip_with_metric(kind)
        made[name] = space.metric
    return made


@every
def test_agrees_with_geomstats(metric, geomstats):
    theirs, P, Q = geomstats[metric.name], drawn(5), drawn(5, purpose="others")
    V, W = 0.2 * tangents(5), tangents(5, purpose="more")
    p, q, v, w = (x.numpy() for x in (P, Q, V, W))
    close(metric.distance(P, Q), theirs.dist(p, q))
    close(metric.log(P, Q), theirs.log(q, p))
    close(metric.exp(P, V), theirs.exp(v, p))
    close(metric.inner(P, V, W), theirs.inner_product(v, w, p))
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    close(metric.geodesic(P, Q, t), theirs.geodesic(p, end_point=q)(t.numpy()))
    more = {"n_steps": 100} if metric is BURES else {}
    close(metric.transport(P, Q, W), theirs.parallel_transport(w, p, end_point=q, **more))


@every
def test_exp_undoes_log_and_geodesics_are_as_long_as_the_distance(metric):
    P, Q = drawn(6), drawn(6, purpose="others")
    V = metric.log(P, Q)
    close(metric.exp(P, V), Q, 1e-10)
    close(metric.inner(P, V, V).sqrt(), metric.distance(P, Q), 1e-10)
    t = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    start, quarter, end = metric.geodesic(P, Q, t).unbind(1)
    close(torch.stack([start, end]), torch.stack([P, Q]), 1e-10)
    close(metric.distance(P, quarter), metric.distance(P, Q) / 4, 1e-10)
    close(metric.distance(quarter, Q), metric.distance(P, Q) * 3 / 4, 1e-10)


@every
def test_transport_keeps_inner_products_and_carries_the_velocity_along(metric):
    P, Q, V, W = drawn(4), drawn(4, purpose="others"), tangents(4), tangents(4, purpose="more")
    V_, W_ = metric.transport(P, Q, V), metric.transport(P, Q, W)
    close(metric.inner(Q, V_, W_), metric.inner(P, V, W), 1e-8)
    close(metric.transport(P, Q, metric.log(P, Q)), -metric.log(Q, P), 1e-8)
    close(metric.transport(P, P, V), V, 1e-12)


@every
def test_the_basis_is_orthonormal_and_gradients_are_represented_in_it(metric):
    P, G, n = drawn(3), tangents(3), 4
    basis = metric.basis(P)
    assert basis.shape == (3, n * (n + 1) // 2, n, n)
    gram = metric.inner(P[:, None, None], basis[:, :, None], basis[:, None])
    close(gram, torch.eye(10, dtype=gram.dtype).expand(3, -1, -1), 1e-12)
    # ⟨grad f, V⟩ = df(V), the defining property.
    gradient = metric.raise_index(P, G)
    close(metric.inner(P[:, None], gradient[:, None], basis), (G[:, None] * basis).sum((-2, -1)), 1e-12)


@every
def test_hessian_is_the_second_derivative_along_geodesics(metric):
    P, n = drawn(2, n=3), 3
    B = tangents(1, n=3, purpose="weights")[0]

    def f(Y):
        return (B @ Y @ Y @ Y).diagonal(dim1=-2, dim2=-1).sum(-1) + Y.logdet()

    basis = metric.basis(P)
    for i in range(len(P)):
        G = metrics.symmetric(torch.func.grad(f)(P[i]))
        H = torch.func.hessian(f)(P[i]).reshape(n * n, n * n)
        found = metric.hessian(P[i], G, H)
        close(found, found.mT, 1e-10)
        h = 1e-3
        for a, b in ((0, 0), (1, 4), (2, 5)):
            V = basis[i, a] + basis[i, b]
            scale = 0.1 / V.norm()
            at = [f(metric.exp(P[i], scale * s * h * V)) for s in (-1, 0, 1)]
            second = (at[0] - 2 * at[1] + at[2]) / (scale * h) ** 2
            form = found[a, a] + found[b, b] + 2 * found[a, b]
            close(form, second.item(), 2e-4)


def test_hessians_with_known_answers():
    P, n = drawn(3), 4
    inverse = torch.linalg.inv(P)
    # log det is linear along affine-invariant and log-Euclidean geodesics.
    H = -torch.stack([torch.kron(Q, Q) for Q in inverse])
    zero = torch.zeros(3, 10, 10, dtype=P.dtype)
    close(AFFINE.hessian(P, inverse, H), zero, 1e-10)
    close(LOG.hessian(P, inverse, H), zero, 1e-10)
    # The trace is the squared Bures-Wasserstein distance from 0: Hessian 2 · identity, everywhere.
    eye = torch.eye(n, dtype=P.dtype).expand(3, -1, -1)
    flat = torch.zeros(3, n * n, n * n, dtype=P.dtype)
    close(BURES.hessian(P, eye, flat), 2 * torch.eye(10, dtype=P.dtype).expand(3, -1, -1), 1e-10)
    close(STRAIGHT.hessian(P, eye, flat), zero, 1e-12)


def test_log_euclidean_weights_keep_their_digits_where_eigenvalues_meet():
    P = torch.diag(torch.tensor([1.0, 1.0 + 1e-9, 2.0], dtype=torch.float64))
    w = LOG._weights(torch.linalg.eigvalsh(P))
    close(w[0, 1], 1 + 5e-10, 1e-15)
    close(w[0, 2], 1 / torch.tensor(2.0, dtype=w.dtype).log(), 1e-14)
    H = LOG.hessian(P, tangents(1, n=3)[0], torch.zeros(9, 9, dtype=P.dtype))
    near = LOG.hessian(P.round(decimals=6), tangents(1, n=3)[0], torch.zeros(9, 9, dtype=P.dtype))
    close(H, near, 1e-7)


def test_affine_invariance_and_inversion():
    P, Q = drawn(5), drawn(5, purpose="others")
    C = torch.randn(5, 4, 4, generator=problems.generator(0, "congruence"), dtype=torch.float64)

    def move(M):
        return metrics.symmetric(C @ M @ C.mT)

    def invert(M):
        return metrics.power(M, -1.0)

    close(AFFINE.distance(move(P), move(Q)), AFFINE.distance(P, Q), 1e-9)
    for metric in (AFFINE, LOG):
        close(metric.distance(invert(P), invert(Q)), metric.distance(P, Q), 1e-9)
        close(metric.distance(P, invert(P)), 2 * metrics.logm(P).flatten(1).norm(dim=-1), 1e-9)
    differs = (BURES.distance(invert(P), invert(Q)) - BURES.distance(P, Q)).abs()
    assert (differs > 1e-3 * BURES.distance(P, Q)).all()
    half = AFFINE.geodesic(P, invert(P), torch.tensor([0.5]))[:, 0]
    close(half, torch.eye(4, dtype=P.dtype).expand(5, -1, -1), 1e-10)


@every
def test_karcher_means(metric):
    X = drawn(12)
    mean = metric.mean(X)
    total = metric.log(mean, X).mean(0)
    assert metric.inner(mean, total, total).sqrt() < 1e-11
    # Commuting matrices: every metric's mean is the power mean of the spectra that belongs to it.
    U, values = torch.linalg.eigh(X[0]).eigenvectors, torch.linalg.eigvalsh(X)
    commuting = metrics.symmetric((U * values[:, None, :]) @ U.mT)
    expected = {AFFINE: values.log().mean(0).exp(), LOG: values.log().mean(0).exp(),
                BURES: values.sqrt().mean(0) ** 2, STRAIGHT: values.mean(0)}[metric]  # fmt: skip
    close(metric.mean(commuting), (U * expected) @ U.mT, 1e-10)


def test_bures_distance_keeps_its_digits_where_matrices_are_close():
    P, V = drawn(4), tangents(4)
    for size in (1e-3, 1e-6, 1e-9):
        near = BURES.distance(P, P + size * V) / size
        close(near, BURES.inner(P, V, V).sqrt(), 10 * size + 1e-6)
    assert (BURES.distance(P, P) < 1e-13).all()


def test_nearest_is_the_clipped_spectrum_of_the_symmetric_part():
    M = torch.tensor([[1.0, 3.0], [1.0, 1.0]], dtype=torch.float64)
    close(metrics.nearest(M), torch.full((2, 2), 1.5), 1e-12)
    close(torch.linalg.eigvalsh(metrics.nearest(M, 0.25)), torch.tensor([0.25, 3.0]), 1e-12)
    P = drawn(2)
    close(metrics.nearest(P), P, 1e-12)


@every
def test_a_matrix_that_is_not_spd_is_named(metric):
    P = drawn(4)
    indefinite, skewed, infinite = P.clone(), P.clone(), P.clone()
    indefinite[2] -= 5 * torch.linalg.eigvalsh(P[2])[-1] * torch.eye(4, dtype=P.dtype)
    skewed[1, 0, 1] += 0.1
    infinite[3, 2, 2] = float("nan")
    for bad, words in (
        (indefinite, "matrix 2 is not positive definite: its smallest eigenvalue is -"),
        (skewed, r"matrix 1 is not symmetric: max \|M − Mᵀ\| is 0.1"),
        (infinite, "matrix 3 is not finite"),
    ):
        with pytest.raises(ValueError, match=words):
            metric.distance(bad, P)
        with pytest.raises(ValueError, match=words):
            metric.distance(P, bad)
        with pytest.raises(ValueError, match=words):
            metric.log(P, bad)
        with pytest.raises(ValueError, match=words):
            metrics.check(bad)
        if words.startswith("matrix 2"):
            with pytest.raises(ValueError, match=r"answer \(0, 2\) is not positive definite"):
                metrics.check(bad[None], "answer")


@pytest.mark.parametrize("metric", (BURES, STRAIGHT), ids=lambda m: m.name)
def test_a_geodesic_that_leaves_the_cone_is_refused(metric):
    P = drawn(2)
    with pytest.raises(ValueError, match="end of a .* is not positive definite"):
        metric.exp(P, -5 * P)


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_large_batches_are_shared_out(two_threads):
    P, Q = drawn(1200, n=3).unflatten(0, (2, 600)), drawn(1200, n=3, purpose="others").unflatten(0, (2, 600))
    for metric in (AFFINE, LOG, BURES):
        for name in ("distance", "log"):
            together = getattr(metric, name)(P, Q)
            assert torch.get_num_threads() == 2
            alone = torch.stack([getattr(metric, name)(p, q) for p, q in zip(P, Q, strict=True)])
            close(together, alone, 1e-11)
    close(LOG.exp(P, LOG.log(P, Q)), Q, 1e-9)


def test_a_bad_matrix_of_a_large_batch_is_named_by_its_place_in_it(two_threads):
    P = drawn(1100, n=3)
    P[1042] *= -1
    with pytest.raises(ValueError, match="matrix 1042 is not positive definite"):
        AFFINE.distance(P, P.roll(1, 0))
