"""Sparse autoencoders, many trained at once on the same activations.

L1 (Cunningham et al. 2023), TopK with an auxiliary loss for dead features (Gao et al. 2024), BatchTopK
(Bussmann et al. 2024) and JumpReLU (Rajamanoharan et al. 2024), all with decoder rows of length 1.

The features of all members lie side by side, so that one product of matrices encodes for all of them.
What is not zero after that, a few per cent, is kept as a sparse matrix with a row for each member and
token: decoding, the gradients of the codes and of all weights cost what is active, not what exists.
Gradients are written out; the tests hold them against autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor

from ired.instruments.dictionaries.sparse_autoencoder import ARCHITECTURES, Dictionary
from ired.instruments.dictionaries.sparse_codes import SparseCodes, largest, sampled_product, sparse_product, starts_of

_WEIGHTS = ("decoder", "encoder", "encoder_bias", "threshold", "bias")
_LIFT = 1e-2  # small beside what a feature that takes part learns from; Adam makes it a step where alone


@dataclass(frozen=True)
class Member:
    """One autoencoder to train: its architecture, size, the L0 that it aims at, and its seed.

    A `frozen` one keeps the decoder that it starts with: what encoding alone can do.
    """

    architecture: str
    features: int
    sparsity: int
    seed: int = 0
    frozen: bool = False

    def __post_init__(self):
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"unknown architecture '{self.architecture}': {', '.join(ARCHITECTURES)}")
        if not 1 <= self.sparsity <= self.features:
            raise ValueError(f"{self.sparsity} of {self.features} features cannot be active")

    @property
    def name(self) -> str:
        frozen = "-frozen" if self.frozen else ""
        return f"{self.architecture}{frozen}-{self.features}-l0_{self.sparsity}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """How members are trained.

    auxiliary: weight of the loss by which dead features, those that did not fire in the last `patience`
    steps, learn what the others leave over; bandwidth: width of the window around JumpReLU's threshold
    in which it has a gradient; pressure: weight of its loss (L0/target − 1)²; warm_up: share of the
    steps in which the rate grows; it falls to 0 over the last `cool_down`.
    """

    steps: int
    rate: float = 2e-3
    warm_up: float = 0.05
    cool_down: float = 0.3
    auxiliary: float = 1 / 32
    patience: int = 50
    bandwidth: float = 0.2
    pressure: float = 0.3

    def rate_at(self, step: int) -> float:
        rising = (step + 1) / max(1.0, self.warm_up * self.steps)
        falling = (self.steps - step) / max(1.0, self.cool_down * self.steps)
        return self.rate * min(1.0, rising, falling)


class DictionaryTrainer:
    """Trains `members` together on standardised activations (mean square 1 per entry)."""

    def __init__(
        self,
        members: Sequence[Member],
        plan: Plan,
        mean: Tensor,
        scale: Tensor,
        first: Tensor,
        decoders: dict[Member, Tensor] | None = None,
    ):
        """first: activations (B, width) that set the thresholds at which members start; decoders:
        unit rows (F, width) that members start from instead of random directions."""
        self.members, self.plan, self.mean, self.scale = tuple(members), plan, mean, scale
        self.step, width, like = 0, len(mean), first.new_zeros(())
        ends = torch.tensor([0, *(m.features for m in members)]).cumsum(0).tolist()
        self.slices = [slice(a, b) for a, b in pairwise(ends)]
        rows = []
        for member in members:
            start = (decoders or {}).get(member)
            if start is None:
                generator = torch.Generator().manual_seed(member.seed)
                start = torch.randn(member.features, width, generator=generator)
            rows.append(torch.nn.functional.normalize(start, dim=1))
        self.decoder = torch.cat(rows).to(like)
        self.encoder = self.decoder.clone()  # tied at the start
        self.encoder_bias = self.encoder.new_zeros(len(self.encoder))
        self.threshold = self.encoder.new_zeros(len(self.encoder))
        self.bias = self.encoder.new_zeros(len(members), width)
        self.weights = tuple(getattr(self, name) for name in _WEIGHTS)
        self.since = torch.zeros(len(self.encoder), dtype=torch.long, device=first.device)
        self.price = like.new_full((len(members),), 1e-2)  # L1's, led to the L0 that is aimed at
        self.level = like.new_zeros(len(members))  # BatchTopK's threshold when it is used
        self.thawed = torch.cat([like.new_full((m.features,), float(not m.frozen)) for m in members])
        self._frozen = any(m.frozen for m in members)
        self._u = None  # pre-activations, allocated once
        sizes = torch.tensor([m.features for m in members])
        self._member = torch.arange(len(members)).repeat_interleave(sizes).to(first.device)
        self._target = like.new_tensor([float(m.sparsity) for m in members])
        self._priced = like.new_tensor([float(m.architecture == "l1") for m in members])
        self._jumps = any(m.architecture == "jumprelu" for m in members)
        jumps = like.new_tensor([float(m.architecture == "jumprelu") for m in members])
        self._window = (jumps / plan.bandwidth)[self._member]
        self._topk = {block[-1].start: block for block in self._blocks()}
        self._start((first - mean) / scale)
        for weight in self.weights:
            weight.grad = torch.zeros_like(weight)
        self._adam = torch.optim.Adam(self.weights, lr=plan.rate, betas=(0.9, 0.999), fused=True)

    def _start(self, z: Tensor) -> None:
        """Thresholds at which members are about as sparse on the first batch as they shall be."""
        u = z @ self.encoder.mT
        for member, span in zip(self.members, self.slices, strict=True):
            density = member.sparsity / member.features
            if member.architecture in ("l1", "jumprelu"):
                level = torch.quantile(u[:256, span], 1 - density, dim=0).clamp_min(0.05)
                if member.architecture == "l1":
                    self.encoder_bias[span] = -level
                else:
                    self.threshold[span] = level

    def _blocks(self) -> list[tuple[int, int, slice]]:
        """Features, sparsity and place of TopK members: neighbours of one kind are one block, whose
        largest are found in one call."""
        blocks: list[tuple[int, int, slice]] = []
        for member, span in zip(self.members, self.slices, strict=True):
            if member.architecture != "topk":
                continue
            kind, start = (member.features, member.sparsity), span.start
            if blocks and blocks[-1][:2] == kind and blocks[-1][2].stop == start:
                start = blocks.pop()[2].start
            blocks.append((*kind, slice(start, span.stop)))
        return blocks

    # A step

    def learn(self, x: Tensor) -> dict[str, Tensor]:
        """One step on activations (B, width); error (M,), the share of the mean square that is missed,
        and l0 (M,), before it."""
        z = (x - self.mean) / self.scale
        codes, u = self.encode(z)
        errors, l0 = self.differentiate(z, u, codes)
        rate = self.plan.rate_at(self.step)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))
        self.threshold.clamp_(min=0)
        self._lead(l0)
        self.step += 1
        return {"error": errors, "l0": l0}

    def encode(self, z: Tensor) -> tuple[SparseCodes, Tensor]:
        """What is active for standardised z (B, width), and pre-activations (B, all features)."""
        if self._u is None or len(self._u) != len(z):
            self._u = z.new_empty(len(z), len(self.encoder))
        u = torch.addmm(self.encoder_bias, z, self.encoder.mT, out=self._u)
        row, column, value = map(torch.cat, zip(*self._selected(u), strict=True))
        member, token = row.div(len(z), rounding_mode="floor"), row.remainder(len(z))
        if self._jumps:
            threshold, window = self.threshold[column], self._window[column]
            slope = (value > threshold).to(value)  # thresholds are 0 but for JumpReLU
            near = ((value - threshold).abs() * window < 0.5) * window
        else:
            slope, near = (value > 0).to(value), torch.zeros_like(value)
        return SparseCodes(
            row=row, token=token, member=member, column=column, value=value * slope, slope=slope, near=near
        ), u

    def _selected(self, u: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Which entries of u (B, all features) members look at: row, column, value (E,), member by member."""
        B = len(u)
        for place, (member, span) in enumerate(zip(self.members, self.slices, strict=True)):
            if span.start in self._topk:
                features, k, span = self._topk[span.start]
                value, index = largest(u[:, span].unflatten(1, (-1, features)), k)
                index += torch.arange(span.start, span.stop, features, device=u.device)[:, None]
                row = torch.arange(place * B, place * B + B * index.shape[1], device=u.device)
                yield row.repeat_interleave(k), *(t.transpose(0, 1).flatten() for t in (index, value))
            elif member.architecture != "topk":
                above = self.threshold[span] - 0.5 * self.plan.bandwidth * (member.architecture == "jumprelu")
                if member.architecture == "batchtopk":
                    above = self._batch_level(place, u[:, span])
                token, column = (u[:, span] > above).nonzero(as_tuple=True)
                column += span.start
                yield token + place * B, column, u.view(-1).index_select(0, token * u.shape[1] + column)

    def _batch_level(self, place: int, u: Tensor) -> Tensor:
        """What the member's sparsity·B largest of u (B, F) lie above."""
        wanted, level = self.members[place].sparsity * len(u), self.level[place]
        # All that is above a level a little below the last one holds the largest, as a rule.
        candidates = u[u > 0.7 * level]
        if len(candidates) <= wanted:
            candidates = u.flatten()
        lowest = candidates.topk(wanted + 1, sorted=False).values.min().clamp_min(0)
        self.level[place] = lowest if level == 0 else level.lerp(lowest, 0.02)
        return lowest

    def differentiate(self, z: Tensor, u: Tensor, codes: SparseCodes) -> tuple[Tensor, Tensor]:
        """The gradients of all losses by all weights; the errors (M,) and L0 (M,) of the members."""
        B, width, M = *z.shape, len(self.members)
        active = (codes.value > 0).to(z)
        l0 = torch.bincount(codes.member, active, minlength=M) / B
        error = self._decode(codes, 0, B * M).view(M, B, width).add_(self.bias[:, None]).sub_(z)
        errors = torch.linalg.vector_norm(error.flatten(1), dim=1).square() / (B * width)
        fired = torch.bincount(codes.column, active, minlength=len(self.since)) > 0
        self.since.add_(1).masked_fill_(fired, 0)
        dead = self.since > self.plan.patience
        pull = error.view(-1, width)
        # By the code: L1's price for what is active.
        priced = (self.price * self._priced / B)[codes.member] * active
        extra, revived = self._revive(u, dead)
        if extra is not None:
            # The dead features of these members decode what the others leave over.
            leftover = self._decode(extra, B * M, len(revived) * B).view(-1, B, width)
            leftover += error[revived]
            pull = torch.cat([pull, leftover.view(-1, width).mul_(self.plan.auxiliary)])
            codes = codes.joined(extra)
            priced = torch.cat([priced, torch.zeros_like(extra.value)])
        pull.mul_(2 / (B * width))

        by_value = sampled_product(starts_of(codes.row, len(pull)), codes.column, pull, self.decoder)
        # A decoder row's gradient along itself: rows move on the sphere.
        along = torch.zeros_like(self.encoder_bias).index_add_(0, codes.column, by_value * codes.value)
        by_value += priced
        by_u = by_value * codes.slope
        order = torch.argsort(codes.column)
        starts = starts_of(codes.column, len(dead))
        row, token, value, slanted = (t.index_select(0, order) for t in (codes.row, codes.token, codes.value, by_u))
        self.decoder.grad = sparse_product(starts, row, value, pull).addcmul_(along[:, None], self.decoder, value=-1)
        self.encoder.grad = sparse_product(starts, token, slanted, z)
        self.encoder_bias.grad = torch.zeros_like(self.encoder_bias).index_add_(0, codes.column, by_u)
        # A dead feature whose pre-activation is never positive learns nothing else: its bias rises.
        self.encoder_bias.grad.sub_(dead * (self.plan.auxiliary * _LIFT))
        if self._jumps:
            felt = self.threshold[codes.column] * by_value + self._crowding(l0, B)[codes.member]
            felt.mul_(codes.near).neg_()
            self.threshold.grad = torch.zeros_like(self.threshold).index_add_(0, codes.column, felt)
        self.bias.grad = pull[: B * M].view(M, B, width).sum(1)
        if self._frozen:
            self.decoder.grad.mul_(self.thawed[:, None])
        return errors, l0

    def _decode(self, codes: SparseCodes, first: int, rows: int) -> Tensor:
        """Rows (rows, width), from row number `first` on."""
        return sparse_product(starts_of(codes.row - first, rows), codes.column, codes.value, self.decoder)

    def _revive(self, u: Tensor, dead: Tensor) -> tuple[SparseCodes | None, list[int]]:
        """The strongest dead features of every member with any, as codes, and those members."""
        codes, revived, B = [], [], len(u)
        counts = torch.bincount(self._member[dead], minlength=len(self.members)).tolist()
        for place, (member, span) in enumerate(zip(self.members, self.slices, strict=True)):
            if member.frozen or not counts[place]:
                continue
            ours = dead[span].nonzero()[:, 0] + span.start
            kept = u[:, ours].topk(min(2 * member.sparsity, len(ours)), dim=1, sorted=False)
            value, column = kept.values.flatten(), ours[kept.indices.flatten()]
            token = torch.arange(B, device=u.device).repeat_interleave(kept.indices.shape[1])
            slope = (value > 0).to(value)
            row = token + B * (len(self.members) + len(revived))
            codes.append(
                SparseCodes(
                    row=row,
                    token=token,
                    member=torch.full_like(token, place),
                    column=column,
                    value=value * slope,
                    slope=slope,
                    near=torch.zeros_like(value),
                )
            )
            revived.append(place)
        return (reduce(SparseCodes.joined, codes) if codes else None), revived

    def _crowding(self, l0: Tensor, B: int) -> Tensor:
        """d pressure·(L0/target − 1)² / dL0, per token, of JumpReLU members (M,)."""
        return 2 * self.plan.pressure * (l0 / self._target - 1) / self._target / B

    def _lead(self, l0: Tensor) -> None:
        """L1's price rises where too much is active and falls where too little is."""
        self.price.mul_(torch.exp(0.02 * (l0 / self._target - 1).clamp(-1, 1)))

    # Half-way

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on."""
        tensors = {name: getattr(self, name) for name in (*_WEIGHTS, "since", "price", "level")}
        for name, weight in zip(_WEIGHTS, self.weights, strict=True):
            tensors |= {f"adam.{name}.{key}": value for key, value in self._adam.state[weight].items()}
        return tensors

    def restore(self, state: dict[str, Tensor], step: int) -> None:
        """Go on after `step` steps from what `state` returned then."""
        for name, value in state.items():
            if not name.startswith("adam."):
                getattr(self, name).copy_(value)
        for name, weight in zip(_WEIGHTS, self.weights, strict=True):
            prefix = f"adam.{name}."
            self._adam.state[weight] = {
                key.removeprefix(prefix): value.to(weight.device)
                for key, value in state.items()
                if key.startswith(prefix)
            }
        self.step = step

    # The end

    def dictionaries(self) -> dict[Member, Dictionary]:
        dictionaries = {}
        for place, (member, span) in enumerate(zip(self.members, self.slices, strict=True)):
            kind = {"l1": "relu", "topk": "topk"}.get(member.architecture, "threshold")
            threshold = self.threshold[span].clone()
            if member.architecture == "batchtopk":
                threshold = self.level[place].expand(member.features).clone()
            dictionaries[member] = Dictionary(
                kind=kind,
                encoder=self.encoder[span].clone(),
                encoder_bias=self.encoder_bias[span].clone(),
                decoder=self.decoder[span].clone(),
                bias=self.bias[place].clone(),
                mean=self.mean.clone(),
                scale=self.scale.clone(),
                threshold=threshold,
                k=member.sparsity,
            )
        return dictionaries


def train_dictionaries(
    members: Sequence[Member],
    plan: Plan,
    batches: Iterator[Tensor],
    mean: Tensor,
    scale: Tensor,
    decoders: dict[Member, Tensor] | None = None,
    on_step: Callable[[int], None] | None = None,
    every: int = 25,
    checkpoint: Any = None,
) -> tuple[dict[Member, Dictionary], list[dict]]:
    """Dictionaries of all members after plan.steps batches (B, width), and their learning curves:
    rows of member, step, error (share of the mean square missed), l0, dead (share of features).

    checkpoint: where a state is kept now and then (load() → (tensors, notes) or None, due(), save(tensors,
    notes)); the steps that it has seen are not made again, and the end is the same."""
    first = next(batches)
    trainer = DictionaryTrainer(members=members, plan=plan, mean=mean, scale=scale, first=first, decoders=decoders)
    curve = []
    if checkpoint is not None and (kept := checkpoint.load()):
        trainer.restore(kept[0], kept[1]["step"])
        curve = kept[1]["curve"]
        next(islice(batches, trainer.step, trainer.step), None)
        if on_step:
            on_step(trainer.step)
    for step in range(trainer.step, plan.steps):
        losses = trainer.learn(next(batches))
        if step % every == 0 or step + 1 == plan.steps:
            errors, l0 = (losses[name].tolist() for name in ("error", "l0"))
            if not all(map(math.isfinite, errors)):
                worst = next(m.name for m, e in zip(members, errors, strict=False) if not math.isfinite(e))
                raise ArithmeticError(f"the dictionary {worst} diverged at step {step}")
            dead = [(trainer.since[span] > plan.patience).float().mean().item() for span in trainer.slices]
            curve += [
                {"member": m.name, "step": step, "error": e, "l0": n, "dead": d}
                for m, e, n, d in zip(members, errors, l0, dead, strict=True)
            ]
        if checkpoint is not None and (step + 1 == plan.steps or checkpoint.due()):
            checkpoint.save(trainer.state(), {"step": step + 1, "curve": curve})
        if on_step:
            on_step(1)
    return trainer.dictionaries(), curve
