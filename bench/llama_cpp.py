"""llama.cpp's server as a peer: built from the sources that PyPI has (llama-cpp-python's), and a GGUF file for it.

A program that is already there is taken: ``llama-server`` in the PATH, or what LLAMA_SERVER names. Else it is compiled
once, for this processor, which takes a quarter of an hour on two cores, and kept in the user's cache.

    python bench/llama_cpp.py            # build it, and print its path
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

SOURCES = "llama-cpp-python==0.3.36"
_OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "ON",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
}


def home() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "commonweal" / SOURCES.replace("==", "-")


def server() -> Path:
    """The program; built if there is none. Raises CalledProcessError where that fails."""
    found = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
    if found:
        return Path(found)
    if not built().exists():
        _build(sources())
    return built()


def built() -> Path:
    """Where it is once it was built."""
    return home() / "build" / "bin" / "llama-server"


def sources() -> Path:
    """llama.cpp's source tree, fetched once."""
    place = home()
    if not (place / "CMakeLists.txt").exists():
        with tempfile.TemporaryDirectory() as folder:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            subprocess.run([*pip, "--dest", folder, SOURCES], check=True)
            (packed,) = Path(folder).glob("*.tar.gz")
            with tarfile.open(packed) as archive:
                archive.extractall(folder, filter="data")
            (tree,) = Path(folder).glob("*/vendor/llama.cpp")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(tree, place, dirs_exist_ok=True)
    return place


def _build(place: Path) -> None:
    options = [f"-D{name}={value}" for name, value in _OPTIONS.items()]
    subprocess.run(["cmake", "-B", "build", *options], cwd=place, check=True, stdout=sys.stderr)
    build = ["cmake", "--build", "build", "--target", "llama-server", "--parallel", str(os.cpu_count() or 1)]
    subprocess.run(build, cwd=place, check=True, stdout=sys.stderr)


def write_gguf(folder: Path, out: Path) -> Path:
    """The Llama in ``folder`` with its byte-level tokenizer, in float32, as llama.cpp reads it."""
    sys.path.insert(0, str(sources() / "gguf-py"))
    gguf: Any = importlib.import_module("gguf")
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(str(folder))
    config, weights = model.config, model.state_dict()
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    _write_tokenizer(gguf, writer, AutoTokenizer.from_pretrained(str(folder)), config.vocab_size)
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"].numpy())
    names = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for layer in range(config.num_hidden_layers):
        for theirs, ours in names.items():
            weight = weights[f"model.layers.{layer}.{theirs}.weight"]
            if ours in heads:  # llama.cpp turns neighbours where transformers turns halves
                weight = (
                    weight.reshape(heads[ours], 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
                )
            writer.add_tensor(f"blk.{layer}.{ours}.weight", weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _write_tokenizer(gguf: Any, writer: Any, tokenizer: Any, size: int) -> None:
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    tokens = [by_id.get(number, f"[unused{number}]") for number in range(size)]
    special = set(tokenizer.all_special_ids)
    kinds = [
        gguf.TokenType.CONTROL
        if number in special
        else gguf.TokenType.NORMAL
        if number in by_id
        else gguf.TokenType.UNUSED
        for number in range(size)
    ]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]] or ["! !"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


if __name__ == "__main__":
    print(server())
