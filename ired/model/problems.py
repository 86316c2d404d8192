"""Matrix inversion problems: where they come from, and what properties they have."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import torch
from torch import Tensor


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A stream of random numbers of its own for every (seed, purpose).

    Purposes ("train", "validation", "test", "harder", "directions", …) never share numbers, so a
    test set cannot leak into training, and drawing more of one changes nothing of another.
    """
    digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=8).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest, "big") >> 1)


def draw(
    count: int,
    n: int,
    c: float,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Problems A = 2RRᵀ + cI with R_ij ~ U(−1, 1): (count, n, n), on the generator's device.

    c = 0.5 is the training distribution of Du et al. 2024, c = 0.1 their harder one.
    """
    R = torch.rand(count, n, n, generator=generator, dtype=dtype, device=generator.device)
    R.mul_(2).sub_(1)
    A = torch.bmm(R, R.mT).mul_(2)
    A.diagonal(dim1=-2, dim2=-1).add_(c)
    return A


def inverse(A: Tensor, check: bool = True) -> Tensor:
    """A⁻¹ of symmetric positive definite matrices (B, n, n), exactly symmetric, by Cholesky.

    Raises torch.linalg.LinAlgError where a matrix is not positive definite; without `check`, which
    would make a GPU wait for its answer, that leaves numbers that mean nothing.
    """
    L = torch.linalg.cholesky(A) if check else torch.linalg.cholesky_ex(A).L
    Y = torch.cholesky_inverse(L)
    return Y if Y.device.type == "cpu" else (Y + Y.mT) / 2  # LAPACK's is symmetric as it stands


def _rotation(count: int, n: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Haar-distributed orthogonal matrices (Mezzadri 2007: QR with the signs of R's diagonal)."""
    G = torch.randn(count, n, n, generator=generator, dtype=dtype, device=generator.device)
    Q, R = torch.linalg.qr(G)
    return Q * R.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]


def _ill_conditioned(count: int, n: int, c: float, generator: torch.Generator) -> Tensor:
    """Random eigenvectors, eigenvalues log-spaced over κ = 1000, the training mean trace."""
    spectrum = torch.logspace(-3, 0, n, dtype=torch.float64, device=generator.device)
    spectrum *= n * mean_diagonal(n, c) / spectrum.sum()
    Q = _rotation(count, n, generator, torch.float64)
    return (Q * spectrum) @ Q.mT


def _near_singular(count: int, n: int, c: float, generator: torch.Generator) -> Tensor:
    """Training problems whose smallest eigenvalue is set to 0.02."""
    eigenvalues, Q = torch.linalg.eigh(draw(count, n, c, generator, torch.float64))
    eigenvalues[:, 0] = 0.02
    return (Q * eigenvalues[:, None, :]) @ Q.mT


def _smaller(count: int, n: int, c: float, generator: torch.Generator) -> Tensor:
    """Problems of side ⌈n/2⌉ in the leading block, the identity elsewhere.

    The network's input has a fixed side; this is how another n fits into it, inverse included.
    """
    m = math.ceil(n / 2)
    A = torch.eye(n, dtype=torch.float64, device=generator.device).repeat(count, 1, 1)
    A[:, :m, :m] = draw(count, m, c, generator, torch.float64)
    return A


FAMILIES: dict[str, Callable[[int, int, float, torch.Generator], Tensor]] = {
    "same": lambda count, n, c, g: draw(count, n, c, g, torch.float64),
    "harder": lambda count, n, c, g: draw(count, n, 0.1, g, torch.float64),
    "ill_conditioned": _ill_conditioned,
    "near_singular": _near_singular,
    "smaller": _smaller,
}
"""Test distributions by name; all but "same" are out of distribution. float64 (count, n, n)."""


def mean_diagonal(n: int, c: float) -> float:
    """E[A_ii] = 2n/3 + c; E[A_ij] = 0 off the diagonal."""
    return 2 * n / 3 + c


def deviations(n: int) -> tuple[float, float]:
    """Standard deviations of A_ii and of A_ij: √(16n/45) and √(4n/9), from the moments of U(−1, 1)."""
    return math.sqrt(16 * n / 45), math.sqrt(4 * n / 9)


def standardisation(n: int, c: float, count: int = 65536) -> tuple[float, float]:
    """Shift E[Y_ii] and scale, the root mean square of Y − shift·I per entry, of the answers.

    Estimated on a sample of its own with a fixed seed, so that every model of one distribution
    uses the same coordinates.
    """
    Y = inverse(draw(count, n, c, generator(0, "standardisation"), torch.float64))
    shift = Y.diagonal(dim1=-2, dim2=-1).mean()
    Y.diagonal(dim1=-2, dim2=-1).sub_(shift)
    # Sums differ in their last digits from machine to machine: a model's coordinates should not.
    return round(shift.item(), 10), round(Y.pow(2).mean().sqrt().item(), 10)


def problem_digest(A: Tensor) -> str:
    """Eight bytes of hash that tell sets of problems apart, for provenance."""
    return hashlib.blake2b(A.cpu().numpy().tobytes(), digest_size=8).hexdigest()


def properties(A: Tensor) -> dict[str, Tensor]:
    """Named properties of problems (B, n, n), each (B,) in float64, from the exact spectrum.

    condition_number = λ_max/λ_min, rank counts eigenvalues above n·ε·λ_max (numpy's convention),
    norm is Frobenius, inverse_peak the largest entry of A⁻¹ in size.
    """
    A = A.double()
    spectrum = torch.linalg.eigvalsh(A)
    low, high = spectrum[:, 0], spectrum[:, -1]
    floor = A.shape[-1] * torch.finfo(torch.float64).eps * high
    return {
        "condition_number": high / low,
        "smallest_eigenvalue": low,
        "largest_eigenvalue": high,
        "trace": spectrum.sum(-1),
        "norm": spectrum.pow(2).sum(-1).sqrt(),
        "log_determinant": spectrum.log().sum(-1),
        "rank": (spectrum > floor[:, None]).sum(-1).double(),
        "inverse_peak": inverse(A).abs().amax((-2, -1)),
    }
