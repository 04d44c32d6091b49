"""Compression cost: processor milliseconds per million parameters, one core, and bytes per parameter.

    python bench/codecs.py --out bench/data/codecs.json

The peer is 4-bit block-wise quantization as bitsandbytes does it (absolute maximum of a block, nearest of 16
normal-float values), in plain torch on one thread, or bitsandbytes itself where it is installed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import Record

from commonweal.train.codecs import Vector, make_codec

CODECS = ("fp32", "int8", "int4", "int2", "int1", "topk", "topk:bits=1", "cocktail")
REPEATS = 9


def pseudo_gradient(size: int) -> Vector:
    """Numbers spread like a pseudo-gradient: normal within a row, the rows' sizes over two decades."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((size // 256, 256), dtype=np.float32)
    return (rows * np.exp(rng.normal(-7, 1, (size // 256, 1))).astype(np.float32)).reshape(-1)


def cpu_milliseconds(work: Callable[[], Any]) -> float:
    """The median processor time of a call, after one to warm up."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1e3 * float(np.median(times))


def measure(name: str, x: Vector) -> dict[str, Any]:
    codec = make_codec(name)
    data = codec.encode(x, seed=1)
    decoded = codec.decode(data, x.size)
    millions = x.size / 1e6
    encode = cpu_milliseconds(lambda: codec.encode(x, seed=1)) / millions
    decode = cpu_milliseconds(lambda: codec.decode(data, x.size)) / millions
    return {
        "codec": name,
        "bytes_per_parameter": len(data) / x.size,
        "encode_ms_per_million": encode,
        "decode_ms_per_million": decode,
        "total_ms_per_million": encode + decode,
        "relative_squared_error": float(((x - decoded) ** 2).sum() / (x**2).sum()),
    }


def measure_peer(x: Vector) -> dict[str, Any]:
    """bitsandbytes' normal-float 4 where it is installed, else the same arithmetic in torch."""
    import torch

    torch.set_num_threads(1)
    tensor = torch.from_numpy(x.copy())
    try:
        peer = f"bitsandbytes {version('bitsandbytes')} nf4"
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit  # type: ignore[import-not-found]

        packed, state = quantize_4bit(tensor, blocksize=64, quant_type="nf4")
        encode = cpu_milliseconds(lambda: quantize_4bit(tensor, blocksize=64, quant_type="nf4"))
        decode = cpu_milliseconds(lambda: dequantize_4bit(packed, state))
        decoded = dequantize_4bit(packed, state).numpy()
    except PackageNotFoundError:
        peer = f"nf4, block 64, plain torch {torch.__version__}"
        packed, scale = _torch_nf4(tensor)
        encode = cpu_milliseconds(lambda: _torch_nf4(tensor))
        decode = cpu_milliseconds(lambda: _torch_nf4_back(packed, scale))
        decoded = _torch_nf4_back(packed, scale).numpy()
    millions = x.size / 1e6
    return {
        "codec": peer,
        "bytes_per_parameter": 0.5 + 4 / 64,
        "encode_ms_per_million": encode / millions,
        "decode_ms_per_million": decode / millions,
        "total_ms_per_million": (encode + decode) / millions,
        "relative_squared_error": float(((x - decoded) ** 2).sum() / (x**2).sum()),
    }


# The 16 values of Dettmers et al. 2023 (QLoRA), appendix E.
NF4 = (
    *(-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0),
    *(0.0795803, 0.1609302, 0.24611230, 0.33791524, 0.44070983, 0.5626170, 0.72295684, 1.0),
)


def _torch_nf4(x: Any) -> tuple[Any, Any]:
    import torch

    blocks = x.reshape(-1, 64)
    scale = blocks.abs().amax(dim=1, keepdim=True).clamp(min=1e-38)
    values = torch.tensor(NF4)
    codes = torch.bucketize(blocks / scale, (values[1:] + values[:-1]) / 2).to(torch.uint8)
    return codes[:, ::2] | (codes[:, 1::2] << 4), scale


def _torch_nf4_back(packed: Any, scale: Any) -> Any:
    import torch

    values = torch.tensor(NF4)
    codes = torch.stack((packed & 15, packed >> 4), dim=-1).reshape(packed.shape[0], -1)
    return (values[codes.int()] * scale).reshape(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/codecs.json"))
    parser.add_argument("--parameters", type=int, default=1 << 22, help="a multiple of 256")
    arguments = parser.parse_args()
    record = Record(
        "processor milliseconds per million parameters, one core, median of repeats",
        {"parameters": arguments.parameters, "repeats": REPEATS},
    )
    x = pseudo_gradient(arguments.parameters)
    rows = [measure(name, x) for name in CODECS]
    rows.append(measure_peer(x))
    for row in rows:
        print(
            f"{row['codec']:36} {row['bytes_per_parameter']:7.4f} bytes  encode {row['encode_ms_per_million']:6.2f} "
            f"decode {row['decode_ms_per_million']:6.2f} ms  error {row['relative_squared_error']:.4f}"
        )
    record.save(arguments.out, {"parameters": x.size, "repeats": REPEATS, "rows": rows})


if __name__ == "__main__":
    main()
