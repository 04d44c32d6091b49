"""Codecs: a float32 vector as few bytes, packed for real.

``make_codec`` names them all. Decoding uses numpy's element-wise float32 operations only (no sums, no
transcendental functions), each of which IEEE 754 defines to the bit, so every machine decodes the same bytes
to the same bits. Encoding need not be reproducible, because the bytes are what travels. No module here needs
torch: the hub folds without it.
"""

from commonweal.train.codecs.feedback import Encoded, encode_with_feedback
from commonweal.train.codecs.registry import make_codec
from commonweal.train.codecs.wire import Codec, Vector, rejected

__all__ = ["Codec", "Encoded", "Vector", "encode_with_feedback", "make_codec", "rejected"]
