"""Every assumption is tested on a model that breaks it, and on one that does not."""

import pytest
import torch
from torch import nn

from modelscan_bd import preflight
from modelscan_bd.classifier import Classifier
from modelscan_bd.types import Output, Preprocessing, Probes, ProbeSource, Subject

SHAPE = (3, 8, 8)
CLASSES = 10


class Layer(nn.Module):
    """Any function of a tensor, as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def net(*last, classes=CLASSES):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, classes), *last)


def checks(
    network,
    *,
    classes=CLASSES,
    labels=None,
    probes=ProbeSource.CLEAN,
    output=Output.LOGITS,
    differentiable=True,
    **used,
):
    used = {"mean": (0.0,), "std": (0.05,), "source": "flags"} | used
    classifier = Classifier(
        net=network,
        preprocessing=Preprocessing(**used),
        classes=classes,
        shape=SHAPE,
        output=output,
        differentiable=differentiable,
    )
    images = torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(1))
    labels = labels(classifier.classify(images).argmax(1)) if labels else None
    subject = Subject(classifier=classifier, probes=Probes(images=images, labels=labels, source=probes))
    return {check.id: check for check in preflight.check(subject, rng=torch.Generator().manual_seed(0))}


def failed(found):
    return {check.id for check in found.values() if not check.passed}


def test_a_sound_model_passes_everything():
    found = checks(net(), labels=lambda predicted: predicted)
    assert failed(found) == set()
    assert len(found) == 11
    assert all(check.message.endswith(".") and not check.remedy for check in found.values())


class Batch(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


@pytest.mark.parametrize(
    ("network", "broken"),
    [
        (net(Layer(lambda x: x / 0)), "finite-output"),
        (net(Layer(lambda x: x + torch.randn(x.shape))), "deterministic"),
        (net(Batch()), "batch-independent"),
        (net(nn.BatchNorm1d(CLASSES, track_running_stats=False)), "batch-independent"),
        (net(Layer(lambda x: 0 * x + torch.arange(10.0))), "varied-output"),
    ],
)
def test_a_model_on_which_nothing_can_be_measured_fails_fatally(network, broken):
    check = checks(network)[broken]
    assert not check.passed
    assert check.fatal
    assert check.remedy


def test_outputs_that_are_not_finite_end_the_checks():
    assert set(checks(net(Layer(lambda x: x * float("nan"))))) == {"finite-output"}


def test_one_class_for_all_clean_images_is_reported_by_number():
    found = checks(net(Layer(lambda x: x + 1e3 * torch.eye(10)[7])))["several-classes-predicted"]
    assert not found.passed
    assert not found.fatal
    assert "All 64 images are classified as 7" in found.message


def test_one_class_for_all_procedural_images_is_no_failure():
    biased = net(Layer(lambda x: x + 1e3 * torch.eye(10)[7]))
    assert checks(biased, probes=ProbeSource.PROCEDURAL)["several-classes-predicted"].passed


def test_saturated_outputs_are_noticed():
    assert not checks(net(Layer(lambda x: 1e4 * x)))["unsaturated"].passed
    found = checks(net(Layer(lambda x: 1e4 * x), nn.Softmax(1)), output=Output.PROBABILITIES)["unsaturated"]
    assert "softmax" in found.message


class LyingGradient(torch.autograd.Function):
    """The right value with a gradient of another sign."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return -gradient


class WrongAlone(torch.autograd.Function):
    """The fault of torch 2.13's BatchNorm in small: a gradient that is shuffled when the batch holds one image."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient.roll(3, 1) if len(gradient) == 1 else gradient


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (Layer(lambda x: x.detach() + 0 * x), "gradient is zero"),
        (Layer(lambda x: x + (0 * x).sqrt()), "not finite"),
        (Layer(lambda x: x.detach().clone()), "cannot be differentiated"),
        (Layer(LyingGradient.apply), "finite differences show"),
        (Layer(WrongAlone.apply), "alone has another gradient"),
    ],
)
def test_wrong_gradients_are_told_apart(layer, sentence):
    found = checks(net(layer))["gradients"]
    assert not found.passed
    assert not found.fatal
    assert sentence in found.message


def test_a_forward_only_model_is_told_so():
    assert "forward only" in checks(net(), differentiable=False)["gradients"].message


def test_the_check_of_gradients_bears_a_deep_net_with_kinks():
    torch.manual_seed(0)
    deep = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16),
        nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    assert checks(deep)["gradients"].passed


def test_few_classes_are_a_warning():
    assert "classes" in failed(checks(net(classes=3), classes=3))


@pytest.mark.parametrize(
    ("used", "passes"),
    [
        ({"source": "flags"}, True),
        ({"source": "inferred", "confidence": 0.9, "detail": "by BatchNorm"}, True),
        ({"source": "assumed", "confidence": 0.3}, False),
        ({"source": "metadata", "confidence": 0.1, "detail": "another fits better"}, False),
    ],
)
def test_doubtful_preprocessing_is_a_warning_with_a_remedy(used, passes):
    check = checks(net(), **used)["preprocessing"]
    assert check.passed == passes
    assert ("--mean" in check.remedy) == (not passes)
    assert used.get("detail", "") in check.message


def test_a_scan_without_clean_images_says_so():
    check = checks(net(), probes=ProbeSource.PROCEDURAL)["clean-images"]
    assert not check.passed
    assert "--data" in check.remedy


def test_accuracy_at_chance_is_fatal_where_predictions_know_nothing_of_the_labels():
    def unrelated(predicted):
        return torch.randint(CLASSES, predicted.shape, generator=torch.Generator().manual_seed(5))

    check = checks(net(), labels=unrelated)["accuracy"]
    assert not check.passed
    assert check.fatal
    assert "as by chance" in check.message


def test_labels_in_another_order_are_recognised_as_such():
    check = checks(net(), labels=lambda predicted: (predicted + 3) % CLASSES)["accuracy"]
    assert not check.passed
    assert not check.fatal
    assert "another order" in check.remedy


def test_the_most_frequent_label_is_the_chance_to_beat():
    """A model that says 4 whatever it sees is right on 90 % of a lopsided folder, and knows nothing."""
    stuck = net(Layer(lambda x: 0.01 * x + 10 * torch.eye(10)[4]))

    def lopsided(predicted):
        return torch.where(torch.arange(len(predicted)) % 10 == 0, 1, 4)

    check = checks(stuck, labels=lopsided)["accuracy"]
    assert "57 of 64" in check.message
    assert not check.passed
