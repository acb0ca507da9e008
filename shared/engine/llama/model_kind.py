"""Kind of model (chat, embedding, encoder, ...) in a GGUF file, and whether it generates text.

llama.cpp loads embedding models, text diffusion models and others as it loads chat models, and then
computes nonsense. What else comes as GGUF it refuses without saying what that is. Numbers that no
model has end the process (GGML_ASSERT), at once or with the first batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from shared.engine.llama.gguf_header import GgufHeader, Scalar

_TEXT = "name the file of a model that generates text"
_EMBEDDING = (
    f"an embedding model, which generates no text: {_TEXT} (llama-server --embeddings serves this)"
)
_RERANKER = f"a reranker, which scores texts and generates none: {_TEXT}"
_DIFFUSION = f"a text diffusion model, which doesn't generate token by token: {_TEXT}"
_ENCODER_DECODER = f"an encoder-decoder model (T5), which pilotlight can't run: {_TEXT}"
_PROJECTOR = (
    "a multimodal projector (mmproj, CLIP), only the part that reads images or sound: name the "
    "file of the language model that it belongs to"
)
_SPEECH = f"a model of sound (a speech or audio codec model): {_TEXT}"
_IMAGES = f"a model that generates images or video: {_TEXT}"
_DRAFT = (
    "the head of a draft model (EAGLE-3, DFlash), which only speeds another model up: name the "
    "file of a whole model"
)
_ADAPTER = (
    "a LoRA adapter, which holds only what differs from a base model: merge it into that "
    "(llama-export-lora) and name the merged file"
)
_IMATRIX = "an importance matrix, which is for quantising a model: name the model's own file"
_CONTROL_VECTOR = "a control vector, which only steers a model: name the model's own file"
_VOCABULARY = f"a vocabulary only, without weights: {_TEXT}"

_TYPES = {"adapter": _ADAPTER, "imatrix": _IMATRIX, "mmproj": _PROJECTOR, "vocab": _VOCABULARY}
"""By ``general.type``."""
_ARCHITECTURES = {
    name: kind
    for kind, names in {
        _EMBEDDING: "bert modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 "
        "eurobert gemma-embedding llama-embed t5encoder",
        _DIFFUSION: "dream llada llada-moe rnd1",
        _ENCODER_DECODER: "t5",
        _PROJECTOR: "clip",
        _SPEECH: "wavtokenizer-dec qwen3tts pockettts whisper parler kokoro dia",
        _IMAGES: "flux sd1 sd3 sdxl wan ltxv hidream cosmos hyvid lumina2 qwen_image aura",
        _DRAFT: "eagle3 dflash gemma4-assistant",
        _CONTROL_VECTOR: "controlvector",
        _IMATRIX: "imatrix",
    }.items()
    for name in names.split()
}
"""By ``general.architecture``: llama.cpp's names, and those of other programs."""
_RANK = "4"
_NOT_POOLED = ("0", "-1", str(2**32 - 1))
"""llama_pooling_type: these are none, any other makes one embedding of a text."""

_LIMITS = {
    "block_count": (1, 512),
    "context_length": (1, 2**31 - 1),
    "embedding_length": (1, 2**24),
    "expert_count": (0, 1024),
    "expert_used_count": (0, 1024),
}
"""The least and the most that a hyperparameter can be; of counts, llama.cpp's own limits."""


def file_problem(header: GgufHeader) -> str | None:
    """Why the engine can't generate text with a file; None where nothing speaks against it."""
    found = kind_of_other(header.metadata)
    if found is None and header.n_tensors == 0 and not header.metadata.get("split.count"):
        found = _VOCABULARY
    return f"it is {found}" if found else hyperparameter_problem(header.metadata)


def kind_of_other(metadata: Mapping[str, Scalar]) -> str | None:
    """What a file holds if it is no model that generates text, and what to do; else None.

    ``metadata`` may be as llama.cpp prints it, too.
    """
    architecture = metadata.get("general.architecture", "")
    kind = _TYPES.get(str(metadata.get("general.type"))) or _ARCHITECTURES.get(str(architecture))
    if kind is not None and kind is not _EMBEDDING:
        return kind
    pooling = str(metadata.get(f"{architecture}.pooling_type", 0))
    if pooling == _RANK or f"{architecture}.classifier.output_labels" in metadata:
        return _RERANKER
    is_causal = str(metadata.get(f"{architecture}.attention.causal", True)).lower() != "false"
    return kind if pooling in _NOT_POOLED and is_causal else _EMBEDDING


def hyperparameter_problem(metadata: Mapping[str, Scalar]) -> str | None:
    """A hyperparameter that no model can have; None if all are sensible."""
    prefix = f"{metadata.get('general.architecture')}."
    values = {key: value for key, value in metadata.items() if key.startswith(prefix)}
    for key, value in values.items():
        name = key.removeprefix(prefix)
        if isinstance(value, float) and not math.isfinite(value):
            return f"{key} is {value}: the file is damaged"
        if name.endswith("epsilon") and isinstance(value, float) and value < 0:
            return f"{key} is {value:g}, below 0: the file is damaged"
        if name in _LIMITS and isinstance(value, int):
            least, most = _LIMITS[name]
            if not least <= value <= most:
                return f"{key} is {value}, not from {least} to {most}: the file is damaged"
    return None
