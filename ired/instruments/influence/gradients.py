"""Influence functions (Koh & Liang 2017): which training problems a prediction rests on, by gradients of the weights.

What a weight does in a loss on ∇_y E it does twice, in the forward pass and in the pass back that
makes the gradient; curvature from hooks on layers (KFAC, EK-FAC) sees one of the two. Here the
network's output is θ ↦ ∇_y E, a function like any other, its loss plain mean squared error, and the
curvature its exact generalised Gauss-Newton matrix G = (2/m)·JᵀJ (Schraudolph 2002; Martens 2020,
arXiv 1412.1193), of which only products are formed, by torch.func. Then, with losses ℓ_i of N
training problems and an outcome F (Koh & Liang 2017, arXiv 1703.04730; Grosse et al. 2023, arXiv
2308.03296),

    influence of i on F = −∇Fᵀ (G + λI)⁻¹ ∇ℓ_i / N :

by how much F changes because i is there. Negative: i lowers F. Beside it: gradient products, their
cosines (Charpiat et al. 2019), TracIn (Pruthi et al. 2020, arXiv 2002.08484), the empirical Fisher
matrix. All have this sign. Weights are flat vectors θ (p,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

Product = Callable[[Tensor], Tensor]
METHODS = ("gauss_newton", "fisher", "tracin", "product", "cosine")


def gradients(losses: Callable[[slice], Tensor], parameters: Sequence[Tensor], count: int, chunk: int = 16) -> Tensor:
    """∇θ of `count` scalars, (count, p): losses(rows) gives those of some rows, with autograd's
    graph."""
    chunks = []
    for start in range(0, count, chunk):
        with torch.enable_grad():
            values = losses(slice(start, min(start + chunk, count)))
        # One backward pass for all of a chunk: small networks spend their time on calls.
        each = torch.autograd.grad(
            values,
            parameters,
            torch.eye(len(values), dtype=values.dtype, device=values.device),
            is_grads_batched=True,
            allow_unused=True,
            materialize_grads=True,
        )
        chunks.append(torch.cat([part.detach().flatten(1) for part in each], dim=1))
    return torch.cat(chunks)


def gauss_newton(outputs: Sequence[Callable[[Tensor], Tensor]], theta: Tensor) -> Product:
    """V (R, p) ↦ G·V, G = (2/m) Σ JᵀJ of the mean squared error of m outputs at weights θ (p,).

    outputs: functions of θ, one for each chunk of points, of any shape; m counts all their numbers.
    """
    with torch.no_grad():
        count = sum(output(theta).numel() for output in outputs)

    def product(vectors: Tensor) -> Tensor:
        total = torch.zeros_like(vectors)
        for output in outputs:
            moved = vmap(lambda v, o=output: jvp(o, (theta,), (v,))[1])(vectors)
            (back,) = vmap(vjp(output, theta)[1])(moved)
            total += back
        return total.mul_(2 / count)

    return product


@dataclass(frozen=True)
class Solutions:
    """(G + λI)⁻¹b for R right-hand sides and S dampings λ.

    x: (S, R, p); residual: (S, R) ‖(G + λI)x − b‖/‖b‖; top: the largest eigenvalue seen; products:
    how many products with a vector it took; dampings: (S,) λ.
    """

    x: Tensor
    residual: Tensor
    top: float
    products: int
    dampings: Tensor


def conjugate_gradients(
    product: Product,
    b: Tensor,
    dampings: Sequence[float],
    tolerance: float = 1e-3,
    limit: int = 40,
    relative: bool = True,
) -> Solutions:
    """Solve for all right-hand sides b (R, p) and all dampings at once, by block conjugate gradients.

    O'Leary 1980: all share one Krylov space, span{b, Gb, G²b, …}, so that far fewer rounds are needed
    than for each alone. It is the same space for every damping: its basis is kept (block Lanczos,
    orthogonalised in full), and a damping costs a small solve. Dampings are multiples of the largest
    eigenvalue seen when `relative`. Stops where every residual is below `tolerance`, after `limit`
    rounds, or when the space is everything. b of length 0 has the solution 0.
    """
    length = b.norm(dim=1, keepdim=True)
    unit = b / length.clamp_min(torch.finfo(b.dtype).tiny)
    new = Q = _orthonormal(unit, b[:0])
    T, products = b.new_zeros(0, 0), 0
    for round_ in range(1, limit + 1):
        image = product(new)
        products += len(new)
        inside = image @ Q.T
        T = torch.nn.functional.pad(T, (0, len(new), 0, len(new)))
        T[-len(new) :], T[:, -len(new) :] = inside, inside.T
        beyond = image - inside @ Q  # of the latest block: what earlier ones were sent to, Q holds
        solution = _solve(Q, T, beyond, b=unit, dampings=dampings, relative=relative)
        if round_ == limit or len(Q) == b.shape[1] or solution[1].max() < tolerance:
            break
        new = _orthonormal(beyond, Q)
        if not len(new):
            break
        Q = torch.cat((Q, new))
    x, residual, top, used = solution
    return Solutions(x=x * length, residual=residual * (length[:, 0] > 0), top=top, products=products, dampings=used)


def _orthonormal(rows: Tensor, Q: Tensor) -> Tensor:
    """An orthonormal basis of what `rows` span beyond the rows of Q; rounding counts as nothing."""
    scale = rows.norm()
    for _ in range(3):  # the first leaves rounding, amplified by what was nearly dependent
        rows = rows - (rows @ Q.T) @ Q
        _U, values, V = torch.linalg.svd(rows, full_matrices=False)
        room = max(0, Q.shape[1] - len(Q))
        rows = V[values > 30 * torch.finfo(rows.dtype).eps * scale][:room]
        scale = torch.ones_like(scale)
    return rows


def _solve(Q, T, beyond, b, dampings, relative) -> tuple[Tensor, Tensor, float, Tensor]:
    """Galerkin solutions in the span of Q for every damping, and their exact residuals."""
    values, vectors = torch.linalg.eigh(T)
    top = values[-1].item()
    used = torch.as_tensor(dampings, dtype=b.dtype, device=b.device) * (top if relative else 1.0)
    inside = b @ Q.T
    missed = b - inside @ Q
    coefficients = ((inside @ vectors) / (values + used[:, None, None])) @ vectors.T  # (S, R, q)
    # (G + λ)x − b: inside the space nothing is left, but what Q does not hold of Gx and b is.
    residual = (coefficients[..., -len(beyond) :] @ beyond - missed).norm(dim=-1)
    return coefficients @ Q, residual, top, used


def by_gauss_newton(solutions: Solutions, train: Tensor) -> Tensor:
    """Influences (S, R, N) of N problems with gradients `train` (N, p) by solutions for ∇F."""
    return -(solutions.x @ train.T) / len(train)


def by_fisher(test: Tensor, train: Tensor, dampings: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Influences (S, R, N) with the empirical Fisher matrix (1/N) Σ ∇ℓ_i ∇ℓ_iᵀ + λI, exactly, and λ
    (S,).

    Through the N × N matrix of inner products (Woodbury). Dampings are multiples of the largest
    eigenvalue. Near a minimum of each ℓ_i it tells about curvature, here hardly (Kunstner et al.
    2019, arXiv 1905.12558): it stands here to be compared with.
    """
    count = len(train)
    values, vectors = torch.linalg.eigh(train @ train.T / count)
    used = torch.as_tensor(dampings, dtype=test.dtype, device=test.device) * values[-1]
    across = test @ train.T @ vectors
    # ∇Fᵀ(F + λ)⁻¹∇ℓ_i: F's action on the span of the gradients has the values of the N × N matrix.
    return -(across / (values.clamp_min(0) + used[:, None, None])) @ vectors.T / count, used


def by_product(test: Tensor, train: Tensor) -> Tensor:
    """Influences (R, N) by inner products: G taken for the identity."""
    return -(test @ train.T) / len(train)


def by_cosine(test: Tensor, train: Tensor) -> Tensor:
    """Similarities (R, N) of gradients: −1 where a step on i lowers F most directly."""
    test, train = (torch.nn.functional.normalize(g, dim=1) for g in (test, train))
    return -(test @ train.T)


def by_tracin(rates: Sequence[float], tests: Sequence[Tensor], trains: Sequence[Tensor]) -> Tensor:
    """TracIn's (R, N): the sum over checkpoints of the learning rate times the inner products.

    Its usual sign is turned, so that negative is: i lowers F. tests (R, p), trains (N, p) each."""
    return -sum(rate * test @ train.T for rate, test, train in zip(rates, tests, trains, strict=True))
