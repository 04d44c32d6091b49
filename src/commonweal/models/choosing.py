"""From logits to tokens: the likeliest, or one drawn by a row's own random numbers. Knows no model and no text.

Tensors are named by their shape: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch

from commonweal.core.completion import LOGPROB_FLOOR

Top = Sequence[tuple[int, float]]
"""The likeliest tokens with their log-probabilities, the likeliest first."""

_FEW = 256
_WIDE = 0.3
_GROUP = 128
_BELOW_ONE = 1.0 - 1e-12


def drawer(seed: int | None, number: int) -> Callable[[], float]:
    """Random numbers in [0, 1) of sample ``number``: its own, so that nothing else in its batch matters."""
    return random.random if seed is None else random.Random(f"{seed}/{number}").random


def sampled(
    logits_BV: torch.Tensor,
    heats: Sequence[float],
    top_ps: Sequence[float],
    draws: Sequence[Callable[[], float]],
) -> torch.Tensor:
    """One token a row, by inversion: the row's next random number falls into the running sum of its distribution, over
    the smallest set of likeliest tokens that holds its ``top_p`` (Holtzman et al. 2020). Sums are in float64, and a row
    draws for itself alone, so that a seed gives the same token whatever the batch."""
    heat_B1 = torch.tensor(heats, dtype=torch.float32, device=logits_BV.device)[:, None]
    probs_BV = torch.softmax(logits_BV.float() / heat_B1, dim=-1).cpu()
    ids_B = torch.empty(len(draws), dtype=torch.long)
    narrow = [i for i, top_p in enumerate(top_ps) if top_p < _WIDE]
    if narrow:
        ids_B[narrow] = _sorted_out(probs_BV[narrow], [top_ps[i] for i in narrow], _drawn(draws, narrow))
    left = [i for i, top_p in enumerate(top_ps) if top_p >= _WIDE]
    while left:
        weights_LV = probs_BV if len(left) == len(draws) else probs_BV[left]
        found_L = _fallen(weights_LV, _drawn(draws, left))
        ids_B[left] = found_L
        left = _outside(weights_LV, found_L, left, top_ps)
    return ids_B.to(logits_BV.device)


def _drawn(draws: Sequence[Callable[[], float]], rows: Sequence[int]) -> torch.Tensor:
    return torch.tensor([draws[row]() for row in rows], dtype=torch.float64)[:, None]


def _outside(
    probs_LV: torch.Tensor, found_L: torch.Tensor, rows: Sequence[int], top_ps: Sequence[float]
) -> list[int]:
    """The rows whose token is not of their nucleus: those draw again. A token is in it when all that are likelier hold
    less than ``top_p``, so nothing is sorted, and ``1 / top_p`` draws are enough on average."""
    cut = [at for at, row in enumerate(rows) if top_ps[row] < 1.0]
    if not cut:
        return []
    probs_CV = probs_LV if len(cut) == len(rows) else probs_LV[cut]
    own_C1 = probs_CV.gather(1, found_L[cut][:, None])
    above_C = (probs_CV * (probs_CV > own_C1)).sum(dim=-1, dtype=torch.float64).tolist()
    return [rows[at] for at, mass in zip(cut, above_C, strict=True) if mass >= top_ps[rows[at]]]


def _fallen(weights_BV: torch.Tensor, drawn_B1: torch.Tensor) -> torch.Tensor:
    """Where the random number falls into the running sum of the weights: first of groups of tokens, then within one,
    since a running sum over a whole vocabulary takes longer than the model's own last layer."""
    rest = -weights_BV.shape[1] % _GROUP
    weights_BGW = torch.nn.functional.pad(weights_BV, (0, rest)).view(weights_BV.shape[0], -1, _GROUP)
    group_B1, left_B1 = _place(weights_BGW.sum(dim=-1), drawn_B1)
    chosen_BW = weights_BGW.gather(1, group_B1[..., None].expand(-1, 1, _GROUP))[:, 0]
    within_B1, _ = _place(chosen_BW, left_B1)
    return (group_B1 * _GROUP + within_B1)[:, 0]


def _place(weights_BW: torch.Tensor, drawn_B1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The item in whose share of the sum the number in [0, 1) falls, never one without weight; and how far into that
    share, in [0, 1) again."""
    running_BW = weights_BW.cumsum(dim=-1, dtype=torch.float64)
    value_B1 = drawn_B1.clamp(max=_BELOW_ONE) * running_BW[:, -1:]
    at_B1 = torch.searchsorted(running_BW, value_B1, right=True).clamp(max=weights_BW.shape[1] - 1)
    share_B1 = weights_BW.gather(1, at_B1).double()
    into_B1 = (value_B1 - running_BW.gather(1, at_B1) + share_B1) / share_B1
    return at_B1, into_B1.clamp(min=0.0, max=_BELOW_ONE)


def _sorted_out(probs_BV: torch.Tensor, top_ps: Sequence[float], drawn_B1: torch.Tensor) -> torch.Tensor:
    """From narrow nuclei, by sorting; at least the likeliest token is in one."""
    top_p_B1 = torch.tensor([max(top_p, 1e-9) for top_p in top_ps], dtype=torch.float64)[:, None]
    likeliest_BK, ids_BK = probs_BV.topk(min(_FEW, probs_BV.shape[1]), dim=-1)
    if bool((likeliest_BK.sum(dim=-1, dtype=torch.float64) < top_p_B1[:, 0]).any()):
        likeliest_BK, ids_BK = probs_BV.sort(dim=-1, descending=True)
    running_BK = likeliest_BK.cumsum(dim=-1, dtype=torch.float64)
    kept_BK = likeliest_BK * ((running_BK - likeliest_BK) < top_p_B1)
    return ids_BK.gather(1, _fallen(kept_BK, drawn_B1)[:, None])[:, 0]


def tops(logits_BTV: torch.Tensor, norm_BT: torch.Tensor, alternatives: int) -> list[list[Top]]:
    """The likeliest tokens at each position; ``norm_BT`` is the logits' log-sum-exp."""
    values_BTK, ids_BTK = logits_BTV.topk(min(alternatives, logits_BTV.shape[-1]), dim=-1)
    logprobs = (values_BTK - norm_BT[..., None]).clamp(min=LOGPROB_FLOOR).tolist()
    return [
        [list(zip(ids, numbers, strict=True)) for ids, numbers in zip(ids_T, numbers_T, strict=True)]
        for ids_T, numbers_T in zip(ids_BTK.tolist(), logprobs, strict=True)
    ]
