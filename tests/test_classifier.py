"""The wrapper around a network: its preprocessing is the textbook formula, its outputs are logits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from modelscan_bd.classifier import Classifier, first_tensor
from modelscan_bd.errors import CannotMeasure
from modelscan_bd.types import Layout, Output, Preprocessing

SHAPE = (3, 8, 8)


class Sum(nn.Module):
    """Tells exactly what it was given: one number per channel and corner, from NCHW."""

    def forward(self, x):
        return torch.stack([x[:, 0, 0, 0], x[:, 1, 0, 0], x[:, 2, 0, 0], x[:, 0, 7, 3]], 1)


class SumLast(nn.Module):
    def forward(self, x):
        return Sum()(x.permute(0, 3, 1, 2))


def small_net(seed=0, *last):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5), *last)


def plain(net, *, classes=5, output=Output.LOGITS, **preprocessing):
    values = {"mean": (0.0,), "std": (1.0,), "source": "flags"} | preprocessing
    return Classifier(net=net, preprocessing=Preprocessing(**values), classes=classes, shape=SHAPE, output=output)


unit = st.floats(0, 1, allow_nan=False)
spread = st.floats(1 / 255, 1, allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(
    mean=st.tuples(unit, unit, unit) | st.tuples(unit),
    std=st.tuples(spread, spread, spread) | st.tuples(spread),
    bgr=st.booleans(),
    layout=st.sampled_from(Layout),
    scale=st.sampled_from([1, 255]),
)
def test_preprocessing_equals_the_formula_by_hand(mean, std, bgr, layout, scale):
    images = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    net = SumLast() if layout is Layout.NHWC else Sum()
    seen = plain(net, classes=4, mean=mean, std=std, bgr=bgr, layout=layout)(images)

    pixels = images.double().numpy() * scale
    m, s = (np.broadcast_to(np.array(v), 3).reshape(1, 3, 1, 1) * scale for v in (mean, std))
    by_hand = (pixels - m) / s
    by_hand = by_hand[:, ::-1] if bgr else by_hand
    expected = torch.from_numpy(by_hand.copy()).float()
    torch.testing.assert_close(seen, Sum()(expected), rtol=1e-4, atol=1e-4)


def test_probabilities_become_logits_again_up_to_a_constant():
    images = torch.rand(6, *SHAPE)
    logits = small_net()(images)
    back = plain(small_net(0, nn.Softmax(1)), output=Output.PROBABILITIES)(images)
    torch.testing.assert_close(back - back.mean(1, keepdim=True), logits - logits.mean(1, keepdim=True))


def test_confident_probabilities_keep_their_order_and_gradient():
    """At a margin of 40 nats float32 still holds the small probability, and so must the logits."""

    class Steep(nn.Module):
        def forward(self, x):
            return (40 * torch.stack([x[:, 0, 0, 0], x[:, 1, 0, 0]], 1)).softmax(1)

    images = torch.zeros(1, *SHAPE)
    images[:, 0] = 1
    images.requires_grad_(True)
    logits = plain(Steep(), classes=2, output=Output.PROBABILITIES)(images)
    assert (logits[0, 0] - logits[0, 1]).item() == pytest.approx(40, rel=1e-4)
    logits[0, 1].backward()
    assert images.grad.isfinite().all()
    assert images.grad[0, 1, 0, 0].item() == pytest.approx(40, rel=1e-3)


def test_head_and_features_give_the_logits():
    classifier = plain(small_net())
    images = torch.rand(4, *SHAPE)
    features = classifier.features(images)
    assert features.shape == (4, 24)
    torch.testing.assert_close(classifier.head(features), classifier(images))


def test_the_head_is_found_behind_a_softmax_and_among_linear_layers_of_the_same_width():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Linear(5, 5), nn.Softmax(1))
    assert plain(net, output=Output.PROBABILITIES).head is net[2]


def test_a_net_that_ends_elsewhere_has_no_head_and_says_so():
    classifier = plain(small_net(0, nn.Tanh()))
    assert classifier.head is None
    with pytest.raises(CannotMeasure, match="does not end in a linear layer"):
        classifier.features(torch.rand(2, *SHAPE))


def test_watching_leaves_no_hook_behind():
    net = small_net()
    plain(net).features(torch.rand(2, *SHAPE))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())


def test_weights_are_frozen_and_the_network_is_in_eval_mode():
    net = small_net(0, nn.Dropout(0.5)).train()
    classifier = plain(net)
    assert not net.training
    assert not any(p.requires_grad for p in classifier.parameters())


@pytest.mark.parametrize("batch", [None, 1, 3, 100])
def test_batches_do_not_change_the_answer(batch):
    classifier = plain(small_net())
    images = torch.rand(7, *SHAPE)
    answer = classifier.classify(images, batch=batch)
    torch.testing.assert_close(answer, classifier(images))
    assert not answer.requires_grad


def test_first_tensor_finds_the_logits_in_what_networks_return():
    logits = torch.zeros(2, 3)
    assert first_tensor(logits) is logits
    assert first_tensor((logits, torch.ones(1))) is logits
    assert first_tensor({"aux": torch.ones(1), "logits": logits}) is logits
    assert first_tensor({"out": [logits]}) is logits
    for nothing in ((), {}, None, "text"):
        with pytest.raises(CannotMeasure):
            first_tensor(nothing)


def test_one_by_one_maps_count_as_logits():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 5, 1))
    assert plain(net)(torch.rand(2, *SHAPE)).shape == (2, 5)
    assert F.softmax(plain(net)(torch.rand(2, *SHAPE)), 1).sum().item() == pytest.approx(2)
