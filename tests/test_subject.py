"""From a checkpoint to a subject: shape, layout, classes and kind of output are found, and non-classifiers refused."""

import pytest
import torch
from PIL import Image
from torch import nn

from modelscan_bd.errors import UnsupportedModel, UsageError
from modelscan_bd.subject import build
from modelscan_bd.types import Checkpoint, FileFormat, Hints, Layout, Output, ProbeSource


def checkpoint(net, **extra):
    torch.manual_seed(0)
    return Checkpoint(
        path="x", sha256="", format=FileFormat.STATE_DICT, architecture="test", net=net.eval(), classes=None, **extra
    )


def subject(net, *, flags=Hints(), data=None, **extra):  # noqa: B008 - frozen
    return build(checkpoint(net, **extra), flags=flags, data=data, rng=torch.Generator().manual_seed(0), images=40)


def conv_net(c=3, k=7, *last):
    return nn.Sequential(nn.Conv2d(c, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, k), *last)


def rigid(c, side, k=5):
    """Runs at one size only."""
    return nn.Sequential(nn.Conv2d(c, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * side * side, k))


class LastChannels(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = conv_net()

    def forward(self, x):
        return self.net(x.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("net", "shape", "classes"),
    [
        (rigid(3, 32), (3, 32, 32), 5),
        (rigid(1, 28), (1, 28, 28), 5),
        (rigid(3, 64), (3, 64, 64), 5),
        (rigid(3, 96), (3, 96, 96), 5),
        (rigid(1, 32), (1, 32, 32), 5),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), (1, 28, 28), 10),
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), (3, 32, 32), 10),
        (conv_net(), (3, 32, 32), 7),
        (conv_net(c=1), (1, 28, 28), 7),
        (conv_net(c=4), (4, 32, 32), 7),
    ],
)
def test_shape_and_classes_are_found_by_running(net, shape, classes):
    found = subject(net)
    assert (found.shape, found.classes) == (shape, classes)
    assert found.probes.images.shape == (40, *shape)
    assert found.classifier(found.probes.images[:2]).shape == (2, classes)


def test_a_coarse_stem_suggests_large_images():
    coarse = nn.Sequential(nn.Conv2d(3, 4, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4))
    assert subject(coarse).shape == (3, 224, 224)


def test_flags_outrank_the_file_and_both_outrank_trying():
    assert subject(conv_net(), hints=Hints(size=(48, 40))).shape == (3, 48, 40)
    assert subject(conv_net(), flags=Hints(size=(20, 24)), hints=Hints(size=(48, 40))).shape == (3, 20, 24)


def test_a_guessed_size_is_admitted_and_a_forced_or_stated_one_is_not():
    assert "--input-size" in subject(conv_net()).classifier.preprocessing.detail
    assert "--input-size" not in subject(rigid(3, 32)).classifier.preprocessing.detail
    assert "--input-size" not in subject(conv_net(), flags=Hints(size=(32, 32))).classifier.preprocessing.detail


def test_channels_last_is_found_by_running():
    found = subject(LastChannels())
    assert found.classifier.preprocessing.layout is Layout.NHWC
    assert found.shape == (3, 32, 32)
    assert found.classifier(found.probes.images[:3]).shape == (3, 7)


def test_probabilities_are_recognised_and_turned_back():
    found = subject(conv_net(3, 7, nn.Softmax(1)))
    assert found.classifier.output is Output.PROBABILITIES
    assert found.classifier.head is not None
    assert subject(conv_net(3, 7, nn.LogSoftmax(1))).classifier.output is Output.LOGITS
    assert subject(conv_net()).classifier.output is Output.LOGITS


class Rows(nn.Module):
    """Any function of a few pixels, as a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (nn.Conv2d(3, 21, 1), "as a segmenter does"),
        (conv_net(3, 1), "a single number for each image"),
        (Rows(lambda x: [{"boxes": torch.zeros(0, 4)} for _ in x]), "as a detector does"),
        (Rows(lambda x: torch.zeros(5, len(x), 3)), "as a detector does"),
        (Rows(lambda x: x.flatten(1)[:, :9].argmax(1)), "class numbers"),
        (Rows(lambda _: "label"), "returns a str, not a tensor"),
        (Rows(lambda x: nn.functional.normalize(x.flatten(1)[:, :32])), "an embedding"),
        (conv_net(3, 7, nn.Sigmoid()), "independent sigmoids"),
        (nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), "without its classification head"),
        (nn.Sequential(nn.Flatten(), nn.Linear(777, 3)), "runs on no input shape"),
    ],
)
def test_what_is_no_classifier_is_refused_in_a_sentence(net, sentence):
    with pytest.raises(UnsupportedModel, match=sentence):
        subject(net)


def test_without_data_the_probes_are_procedural_and_with_it_clean(tmp_path):
    assert subject(conv_net()).probes.source is ProbeSource.PROCEDURAL
    for k in range(7):
        (tmp_path / str(k)).mkdir()
        for i in range(6):
            Image.new("RGB", (18, 18), (30 * k, 40 * i, 9)).save(tmp_path / str(k) / f"{i}.png")
    found = subject(conv_net(), data=tmp_path)
    assert found.probes.source is ProbeSource.CLEAN
    assert found.shape == (3, 18, 18)  # the user's images have one size, and the network runs at it
    assert found.probes.labels.bincount(minlength=7).sort().values.tolist() == [5, 5, 6, 6, 6, 6, 6]


def test_a_folder_that_is_missing_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        subject(conv_net(), data=tmp_path / "absent")


def test_same_seed_same_subject():
    one, same = subject(conv_net()), subject(conv_net())
    assert torch.equal(one.probes.images, same.probes.images)
    assert one.classifier.preprocessing.source == same.classifier.preprocessing.source


def test_a_forward_only_network_stays_forward_only():
    assert subject(conv_net(), differentiable=False).classifier.differentiable is False
