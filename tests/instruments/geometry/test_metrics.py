"""The four metrics: their laws, what is ours beside geomstats, and what is refused."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from ired.instruments.core.states import symmetric
from ired.instruments.geometry import geomstats_manifold, metrics
from ired.instruments.geometry.metrics import METRICS
from ired.model import problems

AFFINE, LOG, BURES, STRAIGHT = METRICS.values()
every = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def drawn(count, n=4, c=0.5, purpose="spd"):
    return problems.draw(count, n, c, problems.generator(0, purpose), torch.float64)


def tangents(count, n=4, purpose="tangents"):
    V = torch.randn(count, n, n, generator=problems.generator(0, purpose), dtype=torch.float64)
    return symmetric(V)


def close(a, b, tolerance=1e-8):
    b = b if torch.is_tensor(b) else torch.tensor(np.array(b))
    torch.testing.assert_close(a, b.to(a.dtype), rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def plain():
    """geomstats' metrics on SPD(4) as they come, by our names."""
    geomstats_manifold.library()
    from geomstats.geometry import spd_matrices as g

    made = {}
    for metric in METRICS.values():
        space = g.SPDMatrices(4, equip=False)
        space.equip_with_metric(getattr(g, metric.kind))
        made[metric.name] = space.metric
    return made


def test_what_is_ours_agrees_with_geomstats(plain):
    """Where matrices are far from each other and eigenvalues from theirs, geomstats' own have their digits."""
    P, Q, V, W = drawn(5), drawn(5, purpose="others"), 0.2 * tangents(5), tangents(5, purpose="more")
    p, q, v, w = (x.numpy() for x in (P, Q, V, W))
    close(BURES.distance(P, Q), plain[BURES.name].dist(p, q), 1e-10)
    theirs = plain[LOG.name]
    close(LOG.log(P, Q), theirs.log(q, p), 1e-10)
    close(LOG.exp(P, V), theirs.exp(v, p), 1e-10)
    close(LOG.inner(P, V, W), theirs.inner_product(v, w, p), 1e-10)
    close(LOG.transport(P, Q, W), theirs.parallel_transport(w, p, end_point=q), 1e-10)
    close(metrics.nearest(W, 1e-12), theirs._space.projection(w), 1e-10)


@every
def test_weights_are_the_inner_product(metric):
    """What gradients, bases and Hessians are made of, beside geomstats' inner product."""
    P, V, W = drawn(5), tangents(5), tangents(5, purpose="more")
    values, U = torch.linalg.eigh(P)
    parts = (U.mT @ V @ U) * (U.mT @ W @ U) / metric._weights(values) ** 2
    close(metric.inner(P, V, W), parts.sum((-2, -1)), 1e-10)


def test_geomstats_needs_what_is_ours(plain):
    """Each is a reason of a docstring; one that no longer fails is one to take ours out."""
    P = drawn(4)
    far = BURES.distance(P, P.roll(1, 0))
    assert (torch.tensor(plain[BURES.name].dist(P.numpy(), P.numpy())) > 1e-8 * far).any()
    assert (BURES.distance(P, P) < 1e-13 * far).all()
    U, V = torch.linalg.eigh(P[0]).eigenvectors, tangents(1)[0]
    for values, least in (((5.0, 5 + 1e-9, 7, 8), 1e-8), ((1e4, 1e4, 1e4, 1e4), 1e-2)):
        M = symmetric(U * torch.tensor(values, dtype=V.dtype) @ U.mT)
        smooth = torch.tensor(values, dtype=V.dtype)  # D log in the eigenbasis, with all digits:
        quotient = torch.log1p((smooth[:, None] - smooth) / smooth) / (smooth[:, None] - smooth)
        expected = U @ (torch.where(smooth[:, None] == smooth, 1 / smooth, quotient) * (U.mT @ V @ U)) @ U.mT
        diffeo = plain[LOG.name].diffeo
        theirs, ours = (
            torch.tensor(which.tangent(V.numpy(), base_point=M.numpy(), image_point=diffeo(M.numpy())))
            for which in (diffeo, LOG._peer(P).diffeo)
        )
        size = expected.norm()
        assert (theirs - expected).norm() > least * size and (ours - expected).norm() < 1e-12 * size
    for metric in (BURES, STRAIGHT):
        plain[metric.name].exp(-5 * P.numpy(), P.numpy())  # beyond the cone without a word


@every
def test_batches_broadcast_and_a_batch_of_one_stays_one(metric):
    P, Q, V = drawn(2), drawn(3, purpose="others"), 0.1 * tangents(3)
    t = torch.tensor([0.2, 0.7])
    for method, shape in (("distance", ()), ("log", (4, 4)), ("exp", (4, 4)), ("geodesic", (2, 4, 4))):
        other, more = (V if method == "exp" else Q), ((t,) if method == "geodesic" else ())
        call = getattr(metric, method)
        together = call(P[:, None], other, *more)
        close(together, torch.stack([torch.stack([call(p, q, *more) for q in other]) for p in P]), 1e-12)
        assert call(P[:1], other[:1], *more).shape == (1, *shape)
        close(call(P[:1, None], other, *more), together[:1], 1e-12)
    moved = metric.transport(P[:, None], Q, V)
    close(moved, torch.stack([metric.transport(p.expand_as(Q), Q, V) for p in P]), 1e-12)
    close(metric.inner(P[:, None, None], V[:, None], V), metric.inner(P[:, None, None], V, V[:, None]), 1e-12)
    assert metric.mean(P[:1]).shape == (4, 4)


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
        G = symmetric(torch.func.grad(f)(P[i]))
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
        return symmetric(C @ M @ C.mT)

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
    commuting = symmetric((U * values[:, None, :]) @ U.mT)
    expected = {
        AFFINE: values.log().mean(0).exp(),
        LOG: values.log().mean(0).exp(),
        BURES: values.sqrt().mean(0) ** 2,
        STRAIGHT: values.mean(0),
    }[metric]
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
            metrics.require_spd(bad)
        if words.startswith("matrix 2"):
            with pytest.raises(ValueError, match=r"answer \(0, 2\) is not positive definite"):
                metrics.require_spd(bad[None], "answer")


@pytest.mark.parametrize("metric", (BURES, STRAIGHT), ids=lambda m: m.name)
def test_a_geodesic_that_leaves_the_cone_is_refused(metric):
    P = drawn(2)
    with pytest.raises(ValueError, match="end of a .* is not positive definite"):
        metric.exp(P, -5 * P)


@every
def test_what_geomstats_would_do_in_silence_is_refused(metric, monkeypatch):
    P, t = drawn(4), torch.tensor([1.5])
    with pytest.raises(ValueError, match="from time 0 to time 1"):
        metric.geodesic(P, P.roll(1, 0), t)
    with pytest.raises(RuntimeError, match="requires grad"):
        metric.log(P.requires_grad_(), P)
    monkeypatch.setattr(metrics, "ROUNDS", 1)
    if metric in (AFFINE, BURES):
        with pytest.raises(RuntimeError, match=f"the {metric.name} mean has not converged"):
            metric.mean(drawn(4))


@pytest.mark.slow
def test_geomstats_comes_when_it_is_needed_and_changes_nothing_else():
    code = """
import logging, sys, torch
from ired.instruments.geometry import metrics
assert "geomstats" not in sys.modules
metrics.METRICS["affine-invariant"].distance(torch.eye(2), 2 * torch.eye(2))
assert "geomstats" in sys.modules and torch.get_default_dtype() == torch.float32
assert (logging.root.level, logging.root.handlers, logging.root.manager.disable) == (logging.WARNING, [], 0)
"""
    environment = os.environ | {"GEOMSTATS_BACKEND": "pytorch"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == done.stderr == "", done.stderr
