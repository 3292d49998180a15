"""The preprocessing is what flags say, else the file, else what fits the network; and doubt is said aloud.

The networks are trained here, under a convention that the code under test is not told.
"""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modelscan_bd import convention_fit, geometry, preprocessing
from modelscan_bd.errors import UsageError
from modelscan_bd.probes import procedural
from modelscan_bd.types import Hints, Probes, ProbeSource

SIDE = 16
CLASSES = 6
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CONVENTIONS = {
    "[0, 1]": ((0.0,), (1.0,)),
    "[-1, 1]": ((0.5,), (0.5,)),
    "[0, 255]": ((0.0,), (1 / 255,)),
    "ImageNet statistics": IMAGENET,
}


def discs(n, seed):
    """Coloured discs, one place and tint for each class, on warm procedural ground."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=rng)
    images = procedural((3, SIDE, SIDE), n, rng=rng) * torch.tensor([1.0, 0.85, 0.7]).view(3, 1, 1)
    grid = torch.arange(SIDE).float()
    y, x = 4 + 8 * (labels // 3), 3 + 5 * (labels % 3)
    jitter = torch.randint(-1, 2, (2, n), generator=rng)
    far = (grid.view(1, -1, 1) - (y + jitter[0]).view(-1, 1, 1)) ** 2 + (
        grid.view(1, 1, -1) - (x + jitter[1]).view(-1, 1, 1)
    ) ** 2
    tint = torch.tensor([0.9, 0.2, 0.1]).roll(0).expand(n, 3).clone()
    tint[labels % 2 == 1] = torch.tensor([0.1, 0.3, 0.9])
    return torch.where((far < 8).unsqueeze(1), tint.view(n, 3, 1, 1), images), labels


def network(norm):
    after = (lambda c: nn.BatchNorm2d(c)) if norm else (lambda _: nn.Identity())
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, 1, 1), after(12), nn.ReLU(),
        nn.Conv2d(12, 24, 3, 2, 1), after(24), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(384, CLASSES),
    )  # fmt: skip


@cache
def trained(convention, *, norm, bgr=False):
    """A network that classifies discs at well over chance, given pixels under `convention`."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in CONVENTIONS[convention])
    images, labels = discs(1500, seed=1)
    inputs = (images - mean) / std
    inputs = inputs.flip(1) if bgr else inputs
    torch.manual_seed(0)
    net = network(norm)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(140):
        batch = torch.arange(64) + 64 * (step % 23)
        loss = F.cross_entropy(net(inputs[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def clean(*, labelled):
    images, labels = discs(128, seed=2)
    return Probes(images=images, labels=labels if labelled else None, source=ProbeSource.CLEAN)


def invented():
    drawn = procedural((3, SIDE, SIDE), 128, rng=torch.Generator().manual_seed(3))
    return Probes(images=drawn, labels=None, source=ProbeSource.PROCEDURAL)


def settle(net, probes, *, flags=Hints(), metadata=Hints()):  # noqa: B008 - frozen
    rng = torch.Generator().manual_seed(0)
    outside = geometry.survey(net, Hints(), natural=(SIDE, SIDE), rng=rng)
    return preprocessing.settle(net, outside, flags=flags, metadata=metadata, probes=probes, rng=rng)


def fits(found, convention, *, bgr=False):
    mean, std = CONVENTIONS[convention]
    truth = preprocessing.Preprocessing(mean=mean, std=std, bgr=bgr, source="")
    return preprocessing.equivalent(found, truth)


@pytest.mark.parametrize("probes", [clean(labelled=True), clean(labelled=False), invented()], ids=["l", "u", "none"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_batchnorm_remembers_the_convention(convention, probes):
    found = settle(trained(convention, norm=True), probes)
    assert fits(found, convention), found
    assert found.source == "inferred"
    assert found.confidence > preprocessing.SURE
    assert "by BatchNorm" in found.detail


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_without_batchnorm_the_chosen_convention_serves_as_well_as_the_true_one(convention):
    """Discs are easy enough that neighbouring conventions tie; what counts is that nothing is lost."""
    net, probes = trained(convention, norm=False), clean(labelled=True)
    outside = geometry.survey(net, Hints(), natural=(SIDE, SIDE), rng=torch.Generator().manual_seed(0))

    def accuracy(choice):
        predicted = preprocessing._wrapped(net, outside, choice).classify(probes.images).argmax(1)
        return (predicted == probes.labels).float().mean().item()

    mean, std = CONVENTIONS[convention]
    found, truth = settle(net, probes), preprocessing.Preprocessing(mean=mean, std=std, source="")
    assert "agreement and labels" in found.detail
    assert accuracy(truth) > 0.8
    assert accuracy(found) >= accuracy(truth) - 0.02


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_without_batchnorm_bytes_are_not_taken_for_what_they_merely_resemble(convention, labelled):
    """Far too large pixels change few classes, but every answer is certain then, and detectors see nothing."""
    found = settle(trained(convention, norm=False), clean(labelled=labelled))
    assert (found.std[0] < 0.1) == (convention == "[0, 255]"), found


@pytest.mark.parametrize("norm", [True, False])
def test_swapped_colours_are_noticed_on_clean_images(norm):
    found = settle(trained("[0, 1]", norm=norm, bgr=True), clean(labelled=True))
    assert fits(found, "[0, 1]", bgr=True), found


def test_without_batchnorm_and_images_the_convention_is_only_assumed():
    found = settle(trained("[-1, 1]", norm=False), invented())
    assert found.source == "assumed"
    assert found.confidence < preprocessing.SURE


def test_a_fresh_batchnorm_remembers_nothing():
    torch.manual_seed(0)
    assert settle(network(norm=True).eval(), invented()).source == "assumed"


@pytest.mark.parametrize("norm", [True, False])
def test_labels_numbered_in_another_order_are_left_out_of_the_judgement(norm):
    images, labels = discs(128, seed=2)
    shuffled = Probes(images=images, labels=(labels + 1) % CLASSES, source=ProbeSource.CLEAN)
    found = settle(trained("[0, 1]", norm=norm), shuffled)
    assert "labels" not in found.detail
    assert fits(found, "[0, 1]"), found


def test_flags_outrank_the_file_and_the_file_outranks_inference():
    net, probes = trained("[0, 1]", norm=True), invented()
    file, flag = Hints(mean=(0.1,), std=(0.9,)), Hints(mean=(0.2,), std=(0.8,))
    assert settle(net, probes, flags=flag, metadata=file).mean == (0.2,)
    from_file = settle(net, probes, metadata=file)
    assert (from_file.mean, from_file.source) == ((0.1,), "metadata")


@pytest.mark.parametrize(
    ("hints", "mean", "std"),
    [
        (Hints(scale=255.0), (0.0,), (1 / 255,)),
        (Hints(scale=1.0), (0.0,), (1.0,)),
        (Hints(mean=(0.4, 0.5, 0.6), scale=255.0), (0.4, 0.5, 0.6), (1 / 255,)),
        (Hints(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2), scale=255.0), (0.4, 0.5, 0.6), (0.2, 0.2, 0.2)),
        (Hints(std=(0.5,)), (0.0,), (0.5,)),
    ],
)
def test_what_a_flag_leaves_out_is_completed(hints, mean, std):
    found = settle(trained("[0, 255]", norm=False), invented(), flags=hints)
    assert (found.mean, found.std, found.source) == (mean, std, "flags")


def test_a_bgr_flag_alone_does_not_stop_the_inference():
    found = settle(trained("[-1, 1]", norm=True), invented(), flags=Hints(bgr=True))
    assert (found.bgr, found.source) == (True, "inferred")


@pytest.mark.parametrize(
    ("hints", "complaint"),
    [
        (Hints(mean=(0.1, 0.2)), "has 2 values for 3 channels"),
        (Hints(std=(0.1, 0.0, 0.1)), "cannot be used"),
        (Hints(mean=(float("nan"),)), "cannot be used"),
    ],
)
def test_flags_that_do_not_fit_are_one_sentence(hints, complaint):
    with pytest.raises(UsageError, match=complaint):
        settle(trained("[0, 255]", norm=False), invented(), flags=hints)


def test_a_file_that_states_a_wrong_convention_is_doubted():
    net = trained("[0, 255]", norm=True)
    lie = settle(net, invented(), metadata=Hints(mean=(0.0,), std=(1.0,)))
    assert lie.source == "metadata"
    assert lie.confidence < preprocessing.SURE
    assert "[0, 255]" in lie.detail
    truth = settle(net, invented(), metadata=Hints(scale=255.0))
    assert (truth.confidence, truth.detail.count("fits best")) == (None, 0)


def test_the_inference_leaves_the_network_and_the_random_state_alone():
    net = trained("[0, 1]", norm=True)
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    one, same = settle(net, clean(labelled=True)), settle(net, clean(labelled=True))
    assert one == same
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(not m._forward_pre_hooks for m in net.modules())


def test_batchnorm_misfit_is_zero_on_the_statistics_themselves():
    """By hand: a BatchNorm that remembers exactly the moments of the probes, then one whose mean is 1 deviation off."""
    images = clean(labelled=False).images
    net = nn.Sequential(nn.BatchNorm2d(3, eps=0.0), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES)).eval()
    variance, mean = torch.var_mean(images, (0, 2, 3), correction=0)
    net[0].running_mean, net[0].running_var = mean.clone(), variance.clone()
    weights = convention_fit.resampled(len(images), torch.Generator().manual_seed(0))
    channels = torch.full((len(weights), 3), 1 / 3)

    def misfit():
        choice = preprocessing.Preprocessing(mean=(0.0,), std=(1.0,), source="")
        outside = geometry.survey(net, Hints(), natural=(SIDE, SIDE), rng=torch.Generator())
        wrapped = preprocessing._wrapped(net, outside, choice)
        return convention_fit.batchnorm_misfit(wrapped, images, weights, channels)[0].item()

    assert misfit() == pytest.approx(0, abs=1e-4)
    net[0].running_mean += variance.sqrt()
    assert misfit() == pytest.approx(torch.tensor(1.5).log().item(), abs=1e-3)
