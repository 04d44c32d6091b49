"""Text in, token shards out: sources, tokenizers, shards, and which member reads which part."""
