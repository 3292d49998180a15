"""Tells by their names the weights that are no image classifier's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modelscan_bd.errors import UnsupportedModel

_KINDS: tuple[tuple[str, str], ...] = (
    ("an object detector", r"roi_heads\.|rpn\.|bbox_head\.|.*\.dfl\.conv|class_embed\.|box_head|backbone\.fpn\."),
    ("an object detector", r"(model\.)+\d+\.(cv[23]|m)\.\d+\.(\d+\.)*(conv\.)?weight|head\.classification_head\."),
    (
        "a segmentation network",
        r"aux_classifier\.\d|decode_head\.|segmentation_head\.|classifier\.low_classifier|mask_decoder",
    ),
    ("a segmentation network", r"(up\d|down\d)\.(.+\.)?(double_conv|conv)\.|decoder\d?\.blocks\.|upconv\d"),
    ("a language model", r"(.*\.)?embeddings\.word_embeddings\.|.*self_attn\.q_proj\.|(transformer\.)?h\.\d+\.attn\."),
    ("a language model", r"(.*\.)?(lm_head|embed_tokens|wte|shared)\.weight|encoder\.block\.\d+\.layer\."),
    ("an image-and-text model", r"text_model\.|visual\.(conv1|transformer|trunk)|logit_scale|text\.transformer\."),
    ("a diffusion model", r"(down_blocks|up_blocks|mid_block|time_embed|model\.diffusion_model|double_blocks)\b"),
    ("a speech model", r"(.*\.)?(feature_extractor\.conv_layers|conv_pos_embed|wav2vec2)\b"),
    ("a LoRA adapter, not a whole network", r".*lora_(A|B|down|up)\b"),
)


def refuse(name: str, keys: Iterable[str]) -> None:
    """Raises UnsupportedModel where the names of the weights belong to another kind of network."""
    keys = list(keys)
    for kind, pattern in _KINDS:
        found = next((key for key in keys if re.match(pattern, key)), None)
        if found is not None:
            raise UnsupportedModel(
                f"{name} looks like the weights of {kind} (it has '{found[:80]}'); bdscan scans image classifiers",
                remedy="If it is one after all, name its architecture with --arch.",
            )
