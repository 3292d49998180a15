"""A network's family is read off its layers."""

from __future__ import annotations

import pytest

from modelscan_bd import nets
from modelscan_bd.families import CONVOLUTIONAL, DEPTHWISE, LINEAR, family


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("cnn-w8", CONVOLUTIONAL),
        ("vgg6-w8", CONVOLUTIONAL),
        ("resnet8-w8", CONVOLUTIONAL),
        ("mobilenet-w8", DEPTHWISE),
        ("vit-w32", LINEAR),
        ("timm:efficientnet_b0", DEPTHWISE),
        ("timm:convnext_atto", DEPTHWISE),
        ("timm:mixer_s32_224", LINEAR),
        ("torchvision:squeezenet1_1", CONVOLUTIONAL),
    ],
)
def test_families(arch: str, expected: str) -> None:
    size = 224 if "mixer" in arch else 64 if ":" in arch else 32
    assert family(nets.build(arch, classes=10, channels=3, size=size)) == expected
