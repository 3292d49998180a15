"""Do the assumptions of the detectors hold for this model? Each check is a sentence, and a remedy where it fails.

A check is fatal where its failure leaves nothing to measure: the scan is then inconclusive, never benign.
"""

from __future__ import annotations

import torch
from scipy.stats import binomtest, chi2_contingency
from torch import Generator

from modelscan_bd.classifier import Classifier
from modelscan_bd.preprocessing import SURE
from modelscan_bd.slope import slope_check
from modelscan_bd.types import Check, Images, Labels, Logits, Output, Preprocessing, Probes, ProbeSource, Subject

_IMAGES = 16  # looked at by the checks that run the network several times
_ALONE = 4  # images that are also looked at one by one
_TOLERANCE = 1e-3  # of the logits' spread; sums in another order differ by about 1e-6
_FLAT = 1e-5  # spread over images, relative to the logits' size, below which an output is constant
_SATURATED = 1e-6  # what is left to all other classes
_MOST = 0.9  # share of images that makes "nearly all"
_CHANCE = 0.01  # p-value
_FEW_CLASSES = 8  # below it a median over classes is no yardstick


def check(subject: Subject, *, rng: Generator) -> tuple[Check, ...]:
    """Every assumption tested, those that matter most first; nothing after the fatal ones if one of them fails."""
    classifier, probes = subject.classifier, subject.probes
    logits = classifier.classify(probes.images)
    finite = _finite(logits)
    if not finite.passed:
        return (finite,)
    few = probes.images[torch.randperm(len(probes.images), generator=rng)[:_IMAGES]]
    measurable = (finite, _repeatable(classifier, few), _independent(classifier, few), _varied(logits))
    if not all(check.passed for check in measurable):
        return measurable
    checks = (
        *measurable,
        _several_classes_seen(logits, probes),
        _unsaturated(logits, classifier.output),
        slope_check(classifier, few),
        _enough_classes(classifier.classes),
        _preprocessing(classifier.preprocessing),
        _clean_images(probes),
    )
    return checks if probes.labels is None else (*checks, _accuracy(logits, probes.labels))


def _finite(logits: Logits) -> Check:
    broken = int((~logits.isfinite().all(1)).sum())
    return Check(
        id="finite-output",
        passed=broken == 0,
        fatal=True,
        message=f"{broken} of {len(logits)} images give outputs that are not finite numbers."
        if broken
        else "All outputs are finite.",
        remedy="The weights may be damaged, or pixels may need another range (--range, --mean, --std)."
        if broken
        else "",
    )


def _repeatable(classifier: Classifier, images: Images) -> Check:
    same = _alike(classifier.classify(images), classifier.classify(images))
    return Check(
        id="deterministic",
        passed=same,
        fatal=True,
        message="The same image gives the same output." if same else "The same image gives different outputs.",
        remedy="" if same else "Remove what draws random numbers at inference (dropout, noise) and export again.",
    )


def _independent(classifier: Classifier, images: Images) -> Check:
    together = classifier.classify(images)
    try:
        apart = torch.cat([classifier.classify(image) for image in images[:_ALONE].split(1)])
    except (RuntimeError, ValueError):  # BatchNorm without running statistics refuses to normalise one value
        same = False
    else:
        same = _alike(together[:_ALONE], apart)
    return Check(
        id="batch-independent",
        passed=same,
        fatal=True,
        message="An image's output does not depend on the others in its batch."
        if same
        else "An image's output depends on the others in its batch.",
        remedy="" if same else "Export the network in eval mode, its BatchNorm using running statistics.",
    )


def _varied(logits: Logits) -> Check:
    spread = logits.std(0).max().item()
    varied = spread > _FLAT * max(1.0, logits.abs().max().item())
    return Check(
        id="varied-output",
        passed=varied,
        fatal=True,
        message="Different images give different outputs." if varied else "Every image gives the same output.",
        remedy="" if varied else "The weights may be untrained or damaged, or pixels need another range (--range).",
    )


def _several_classes_seen(logits: Logits, probes: Probes) -> Check:
    """Invented images may well look like one class, the user's own should not."""
    share, top = logits.argmax(1).bincount().max(0)
    passed = probes.source is not ProbeSource.CLEAN or bool(share < len(logits))
    return Check(
        id="several-classes-predicted",
        passed=passed,
        fatal=False,
        message="The images fall into several classes."
        if share < len(logits)
        else f"All {len(logits)} images are classified as {int(top)}.",
        remedy=""
        if passed
        else "Give images of several classes, or the preprocessing that the model was trained with (--mean, --std).",
    )


def _unsaturated(logits: Logits, output: Output) -> Check:
    left = 1 - logits.double().softmax(1).amax(1)
    share = (left < _SATURATED).double().mean().item()
    cause = "the file's softmax has rounded small scores away" if output is Output.PROBABILITIES else "scores are huge"
    passed = share < _MOST
    return Check(
        id="unsaturated",
        passed=passed,
        fatal=False,
        message="The outputs leave room to rise and fall."
        if passed
        else f"For {share:.0%} of the images one class holds all the probability: {cause}.",
        remedy="" if passed else "Check the range of the pixels (--range), or export the network without its softmax.",
    )


def _enough_classes(classes: int) -> Check:
    passed = classes >= _FEW_CLASSES
    return Check(
        id="classes",
        passed=passed,
        fatal=False,
        message=f"The model has {classes} classes."
        if passed
        else f"With {classes} classes, one that stands out from the others is hard to tell from chance.",
        remedy="" if passed else "Weigh the findings with care; clean images (--data) help.",
    )


def _preprocessing(used: Preprocessing) -> Check:
    passed = used.source != "assumed" and (used.confidence is None or used.confidence >= SURE)
    sure = "" if used.confidence is None else f" with confidence {used.confidence:.2f}"
    detail = f": {used.detail}" if used.detail else ""
    return Check(
        id="preprocessing",
        passed=passed,
        fatal=False,
        message=f"Mean and standard deviation are from {used.source}{detail}."
        if used.source in ("flags", "metadata")
        else f"Mean and standard deviation are {used.source}{sure}{detail}.",
        remedy="" if passed else "Pass --mean and --std as in training, or labelled images with --data.",
    )


def _clean_images(probes: Probes) -> Check:
    passed = probes.source is ProbeSource.CLEAN
    return Check(
        id="clean-images",
        passed=passed,
        fatal=False,
        message=f"{len(probes.images)} clean images, {'unlabelled' if probes.labels is None else 'labelled'}."
        if passed
        else "No clean images were given, so detectors that need them are skipped and the others look through "
        "procedural images.",
        remedy=""
        if passed
        else "Pass a folder of images like those in use with --data; without them false alarms are more frequent.",
    )


def _accuracy(logits: Logits, labels: Labels) -> Check:
    """Against guessing the most frequent label. At chance, predictions may still tell labels apart by other numbers."""
    predicted = logits.argmax(1)
    right, n = int((predicted == labels).sum()), len(labels)
    guess = labels.bincount().max().item() / n
    passed = bool(binomtest(right, n, min(guess, 1 - 1e-9), alternative="greater").pvalue < _CHANCE)
    related = not passed and _related(predicted, labels)
    return Check(
        id="accuracy",
        passed=passed,
        fatal=not passed and not related,
        message=f"{right} of {n} labelled images are classified correctly" + ("." if passed else ", as by chance."),
        remedy=""
        if passed
        else "The labels seem to be numbered in another order: name the folders by class number."
        if related
        else "Pass the preprocessing of training (--mean, --std, --input-size) or images of the model's own classes.",
    )


def _related(predicted: Labels, labels: Labels) -> bool:
    """Whether predictions depend on labels at all (chi-squared test)."""
    _, rows = predicted.unique(return_inverse=True)
    _, columns = labels.unique(return_inverse=True)
    table = torch.zeros(int(rows.max()) + 1, int(columns.max()) + 1)
    table.index_put_((rows, columns), torch.ones(len(labels)), accumulate=True)
    return min(table.shape) > 1 and bool(chi2_contingency(table.numpy()).pvalue < _CHANCE)


def _alike(one: Logits, other: Logits) -> bool:
    scale = max(one.std().item(), _FLAT * one.abs().max().item(), 1e-12)
    return bool((one - other).abs().max() <= _TOLERANCE * scale)
