"""The outer step is torch's Nesterov SGD, bit for bit reproducible."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from commonweal.train.outer import OuterOptions, outer_step


@pytest.mark.parametrize(("lr", "momentum"), [(0.7, 0.9), (1.0, 0.0), (0.5, 0.3)])
def test_it_is_torchs_nesterov(lr: float, momentum: float) -> None:
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(100).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(theta.copy()))
    sgd = torch.optim.SGD([parameter], lr=lr, momentum=momentum, nesterov=momentum > 0)
    velocity = np.zeros_like(theta)
    for _ in range(10):
        delta = rng.standard_normal(100).astype(np.float32)
        stepped = outer_step(theta, velocity, delta, OuterOptions(lr=lr, momentum=momentum))
        theta, velocity = stepped.theta, stepped.momentum
        parameter.grad = torch.from_numpy(delta)
        sgd.step()
    np.testing.assert_allclose(theta, parameter.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert theta.dtype == velocity.dtype == np.float32


def test_it_leaves_its_arguments_alone() -> None:
    theta, momentum, delta = (np.full(4, v, np.float32) for v in (1, 2, 3))
    outer_step(theta, momentum, delta, OuterOptions())
    assert (theta[0], momentum[0], delta[0]) == (1, 2, 3)


def test_without_momentum_and_with_rate_one_it_is_plain_averaging() -> None:
    rng = np.random.default_rng(1)
    theta, local = rng.standard_normal((2, 50)).astype(np.float32)
    stepped = outer_step(theta, np.zeros(50, np.float32), theta - local, OuterOptions(lr=1.0, momentum=0.0))
    np.testing.assert_allclose(stepped.theta, local, atol=1e-6)


def test_the_bits_are_these() -> None:
    ramp = np.linspace(-1, 1, 7, dtype=np.float32)
    stepped = outer_step(
        ramp, ramp * np.float32(0.3), ramp * np.float32(0.1), OuterOptions(lr=0.7, momentum=0.9)
    )
    assert stepped.theta.tobytes().hex() == "0a6832bf0ee0edbe0ee06dbe000000000ee06d3e0ee0ed3e0a68323f"


@pytest.mark.parametrize("bad", [{"lr": 0.0}, {"lr": 11.0}, {"momentum": 1.0}, {"momentum": -0.1}])
def test_impossible_options_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        OuterOptions(**bad)
