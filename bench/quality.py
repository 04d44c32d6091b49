"""Quality at equal tokens: what each way of communicating costs in loss and saves in bytes.

    python bench/quality.py --out bench/data/quality.json            # everything; hours on one core
    python bench/quality.py --only baseline,recipe --seeds 0         # a part of it
    python bench/quality.py --list

Every run trains a Llama of 0.8 million parameters from scratch on the text of the Python standard library, as
bytes, with four simulated members. Bytes are one member's, up plus down, of the whole run from the first
step; the reduction is against per-step all-reduce in float32 (4 bytes a parameter up and 4 down at each step).
Each finished run is added to the file at once; runs that are there already are skipped, so that the script can be
stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import os
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from commonweal.train.codecs import make_codec
from commonweal.train.inner import InnerOptions
from commonweal.train.outer import OuterOptions
from commonweal.train.schedule import RateOptions, SyncOptions, learning_rate, rounds
from commonweal.train.simulate import Method, Simulated, simulate_all_reduce, simulate_pool

MEMBERS = 4
SEQUENCE = 64
BATCH = 8
HELD_OUT = 50
BLOCK = 4096
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to train. ``up`` is None for per-step all-reduce."""

    name: str
    steps: int = 1200
    lr: float = 6e-3
    up: str | None = None
    down: str = "fp32"
    sync: SyncOptions | None = None
    outer: OuterOptions | None = None
    beta2: float = 0.95
