"""Error feedback: what compression dropped this time is added to what is sent next time.

Seide et al. 2014 (1-bit SGD); Karimireddy et al. 2019 prove that it restores convergence for any contractive
codec. The sender keeps the residual; the receiver never needs to know of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commonweal.train.codecs.wire import Codec, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """``data`` is what travels, ``decoded`` what the receiver will see, ``residual`` what is still owed."""

    data: bytes
    decoded: Vector
    residual: Vector


def encode_with_feedback(
    codec: Codec, x: Vector, residual: Vector | None, *, seed: int, decay: float = 1.0
) -> Encoded:
    """Encode ``x`` plus ``decay`` times what is still owed.

    A ``decay`` below 1 forgets: it bounds the age of what is sent when the residual stems from weights that
    have since moved on (SparseLoCo uses 0.95). ``residual`` is None the first time.

    >>> from commonweal.train.codecs import make_codec
    >>> sent = encode_with_feedback(make_codec("int1"), np.array([3.0, -1.0], np.float32), None, seed=0)
    >>> sent.decoded.tolist(), sent.residual.tolist()
    ([2.0, -2.0], [1.0, 1.0])
    """
    target = x if residual is None else x + np.float32(decay) * residual
    data = codec.encode(target, seed=seed)
    decoded = codec.decode(data, target.size)
    return Encoded(data=data, decoded=decoded, residual=target - decoded)
