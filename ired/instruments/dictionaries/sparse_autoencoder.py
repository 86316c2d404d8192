"""Dictionaries of activations: what they are, how good they are, when two of them agree.

x ≈ mean + scale · (bias + Σ_i f_i d_i), with few f_i other than 0. Sparse autoencoders learn d and f
together (Cunningham et al. 2023; Gao et al. 2024); PCA, ICA, neurons and random directions are the
same form with given d, and stand beside them at equal sparsity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ired.instruments.core.random_directions import covariance_matched
from ired.instruments.dictionaries.sparse_codes import largest, sparse_product, starts_of
from ired.instruments.statistics.intervals import Interval

ARCHITECTURES = ("l1", "topk", "batchtopk", "jumprelu")
DENSE = 0.5  # a feature that fires on more than this share of tokens is ultra-dense


class DictionaryError(ValueError):
    """A dictionary cannot be used for this; the message says why."""

    exit_status = 2


@dataclass(frozen=True)
class Dictionary:
    """F features of activations of one width.

    encoder, decoder (F, width) and encoder_bias (F,), bias (width,): of x standardised by mean
    (width,) and scale (a number); decoder rows have length 1. What fires, of u = encoder·x + bias:
    "relu": u above 0; "threshold": u above threshold (F,); "topk": the `k` largest u above 0;
    "largest": the `k` largest in size; "all": all.
    """

    kind: str
    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    threshold: Tensor
    k: int = 0

    @property
    def features(self) -> int:
        return len(self.encoder)

    @property
    def width(self) -> int:
        return self.encoder.shape[1]

    def encode(self, x: Tensor) -> Tensor:
        """Features (…, F) of activations (…, width)."""
        if x.shape[-1] != self.width:
            raise DictionaryError(
                f"a dictionary of activations of width {self.width} was given width {x.shape[-1]}: "
                f"it belongs to another layer or another model"
            )
        u = (x - self.mean) / self.scale @ self.encoder.mT + self.encoder_bias
        if self.kind == "relu":
            return u.relu()
        if self.kind == "threshold":
            return u * (u > self.threshold)
        if self.kind in ("topk", "largest"):
            u = u.relu() if self.kind == "topk" else u
            size = u.detach() if self.kind == "topk" else u.detach().abs()
            kept = largest(size, min(self.k, self.features))[1]
            return torch.zeros_like(u).scatter(-1, kept, u.gather(-1, kept))
        return u

    def decode(self, f: Tensor) -> Tensor:
        """Activations (…, width) from features (…, F)."""
        return self.mean + self.scale * (f @ self.decoder + self.bias)

    def decode_active(self, f: Tensor) -> Tensor:
        """`decode` of features (N, F), at the cost of those that are not 0; nothing for autograd."""
        if self.kind == "all":
            return self.decode(f)
        token, feature = f.nonzero(as_tuple=True)
        sums = sparse_product(starts_of(token, len(f)), feature, f[token, feature], self.decoder)
        return self.mean + self.scale * (sums + self.bias)

    def __call__(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    @property
    def directions(self) -> Tensor:
        """(F, width): by how much x grows with each feature."""
        return self.scale * self.decoder

    def to(self, like: Tensor) -> Dictionary:
        """The same in another precision or on another device."""
        return self._with(lambda v: v.to(like))

    def _with(self, change: Any) -> Dictionary:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Dictionary(**{name: change(v) if isinstance(v, Tensor) else v for name, v in values.items()})

    def pack(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and a note from which `unpack` makes it again."""
        tensors = {
            f"{name}.{f.name}": getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)
        }
        return tensors, {name: {"kind": self.kind, "k": self.k}}

    @staticmethod
    def unpack(name: str, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Dictionary:
        if name not in meta:
            raise DictionaryError(f"there is no dictionary '{name}' here: {', '.join(meta)}")
        parts = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        return Dictionary(**parts, **meta[name])


def chosen_dictionary(
    note: Mapping[str, Any], packed: tuple[dict[str, Tensor], dict[str, Any]], source: str
) -> Dictionary:
    """The dictionary of a layer that later experiments take, if it is one of the model `source`.

    note: what was chosen ("primary", and "source", the run of the model); packed: all dictionaries.
    """
    if note["source"] != source:
        raise DictionaryError(
            f"the dictionary of {note['layer']} is one of the model of run {note['source']}, not of "
            f"{source}: train it anew with ARGS=--force"
        )
    return Dictionary.unpack(note["primary"], *packed)


def activation_standardisation(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale under which activations have mean 0 and a mean square of 1 per entry."""
    variance = covariance.trace() / len(mean)
    if not variance > 0:
        raise DictionaryError("these activations do not vary: there is nothing to learn from them")
    return mean.float(), variance.sqrt().float()


# What a dictionary of given directions would do


def given_dictionary(
    kind: str,
    directions: Tensor,
    mean: Tensor,
    scale: Tensor,
    k: int = 0,
    encoder: Tensor | None = None,
) -> Dictionary:
    """A dictionary of directions (F, width), normalised here, read by themselves or by `encoder`."""
    length = directions.norm(dim=1, keepdim=True)
    encoder = directions / length if encoder is None else encoder * length
    nothing = torch.zeros(len(directions)).to(directions)
    return Dictionary(
        kind=kind,
        encoder=encoder,
        encoder_bias=nothing,
        decoder=directions / length,
        bias=torch.zeros_like(mean),
        mean=mean,
        scale=scale,
        threshold=nothing,
        k=k,
    )


def pca_dictionaries(covariance: Tensor, mean: Tensor, scale: Tensor, k: int) -> dict[str, Dictionary]:
    """PCA with k of its components: the k first for all tokens, or each token's own k largest."""
    _, vectors = torch.linalg.eigh(covariance.double())
    components = vectors.flip(1).mT.float()
    return {
        "pca, first": given_dictionary("all", components[:k], mean, scale, k),
        "pca": given_dictionary("largest", components, mean, scale, k),
    }


def neurons(mean: Tensor, scale: Tensor, k: int) -> Dictionary:
    """The k neurons that are furthest from their means."""
    return given_dictionary("largest", torch.eye(len(mean)), mean, scale, k)


def independent(x: Tensor, mean: Tensor, scale: Tensor, k: int, seed: int = 0) -> Dictionary:
    """FastICA (scikit-learn) of activations x (N, width), with each token's k largest components."""
    import warnings

    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    z = ((x - mean) / scale).double().numpy()
    # Directions with next to no variance would be blown up to unit variance.
    values = np.linalg.eigvalsh(np.cov(z.T))
    count = int((values > 1e-6 * values.max()).sum())
    ica = FastICA(count, whiten="unit-variance", random_state=seed, max_iter=50, tol=1e-3)
    with warnings.catch_warnings():
        # Where the data are not a mixture of independent sources it stops at a good enough guess.
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica.fit(z)
    mixing, unmixing = (torch.from_numpy(np.ascontiguousarray(m)).float() for m in (ica.mixing_.T, ica.components_))
    return given_dictionary("largest", mixing, mean, scale, k, unmixing)


# How good it is


@dataclass(frozen=True)
class Quality:
    """A dictionary on N held-out tokens.

    explained: 1 − Σ‖x − x̂‖²/Σ‖x − mean‖², around the overall mean; explained_within: the same with
    each landscape's own mean, since a landscape's mean is most of what varies; l0: features that
    fire, per token; rates (F,): share of tokens that a feature fires on; dead, dense: share of the
    features that never fire, or on more than half of the tokens; error, spread (N,): the summed
    squares.
    """

    explained: float
    explained_within: float
    l0: float
    rates: NDArray
    dead: float
    dense: float
    error: NDArray
    spread: NDArray


@torch.no_grad()
def quality(
    dictionary: Dictionary,
    shards: Iterable[Tensor],
    landscape: Tensor,
    means: Tensor,
    chunk: int = 8192,
) -> Quality:
    """On held-out activations (N, width) that come in shards, with landscape (N,) of each token and
    the means (K, width) of the landscapes in training."""
    like, place = dictionary.decoder, 0
    fired = torch.zeros(dictionary.features, dtype=torch.float64, device=like.device)
    parts = []
    for x in (part for shard in shards for part in shard.split(chunk)):
        k = landscape[place : place + len(x)]
        place += len(x)
        x = x.to(like)
        f = dictionary.encode(x)
        active = f != 0
        fired += active.sum(0)
        apart = (x - dictionary.decode_active(f), x - dictionary.mean, x - means.to(like)[k.to(like.device)])
        parts.append(torch.stack([v.double().pow(2).sum(1) for v in apart]).cpu())
    error, spread, within = torch.cat(parts, 1).numpy()
    if not len(error):
        raise DictionaryError("there are no held-out activations to judge a dictionary on")
    rates = (fired / len(error)).cpu().numpy()
    return Quality(
        explained=float(1 - error.sum() / spread.sum()),
        explained_within=float(1 - error.sum() / within.sum()),
        l0=float(rates.sum()),
        rates=rates,
        dead=float((rates == 0).mean()),
        dense=float((rates > DENSE).mean()),
        error=error,
        spread=spread,
    )


# When two agree


def matched_cosines(first: Tensor, second: Tensor) -> NDArray:
    """Cosines (min(F, F'),) of the rows of (F, width) and (F', width), paired one to one so that
    their sum is largest (Hungarian matching); nan-free: rows of length 0 have cosine 0."""
    from scipy.optimize import linear_sum_assignment

    first_rows, second_rows = (torch.nn.functional.normalize(v.double(), dim=1).cpu() for v in (first, second))
    cosines = (first_rows @ second_rows.mT).numpy()
    return cosines[linear_sum_assignment(cosines, maximize=True)]


@dataclass(frozen=True)
class DictionaryStability:
    """Do dictionaries of several seeds agree more than chance would have it?

    cosine: mean matched cosine over pairs of dictionaries, with Student's t interval over pairs (which
    share dictionaries, so it is narrower than three independent pairs would allow); null: the
    same between random dictionaries of the data's covariance, of the sizes that were matched;
    isotropic: between random directions; highest_null: the largest null mean that was drawn.
    """

    cosine: Interval
    null: float
    highest_null: float
    isotropic: float


def dictionary_stability(
    decoders: list[Tensor], covariance: Tensor, generator: torch.Generator, draws: int = 5
) -> DictionaryStability:
    """decoders: (F_i, width) of the features that are alive in each seed; covariance of the data."""
    from ired.instruments.statistics.intervals import student_interval

    pairs = [(a, b) for i, a in enumerate(decoders) for b in decoders[:i]]
    means = [float(matched_cosines(a, b).mean()) for a, b in pairs]
    sizes = [len(pairs[0][0]), len(pairs[0][1])]

    def chance(shape: Tensor) -> list[float]:
        return [
            float(matched_cosines(*(covariance_matched(shape, s, generator) for s in sizes)).mean())
            for _ in range(draws)
        ]

    null, isotropic = chance(covariance), chance(torch.eye(len(covariance)))
    mean = means[0]
    alone = Interval(estimate=mean, low=mean, high=mean, level=0.95, units=1, method="none")
    return DictionaryStability(
        cosine=student_interval(means) if len(means) > 1 else alone,
        null=float(np.mean(null)),
        highest_null=max(null),
        isotropic=float(np.mean(isotropic)),
    )
