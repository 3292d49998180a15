"""Where mean, standard deviation and channel order come from: flags, else the file, else an inference.

The inference tries the conventions in use, and says how sure it is. What a file states of itself is checked the same
way, because a wrong statement makes every measurement after it worthless.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from modelscan_bd.classifier import Classifier
from modelscan_bd.convention_fit import judges, remembers_inputs
from modelscan_bd.errors import UsageError
from modelscan_bd.geometry import Geometry
from modelscan_bd.types import Hints, Labels, Preprocessing, Probes, ProbeSource

_Statistics: TypeAlias = dict[str, tuple[tuple[float, ...], tuple[float, ...]]]  # mean and deviation by name

SURE = 0.5  # inferred with less confidence than this is called assumed

_FAR = 0.25  # a stated convention that misfits by this much more than the best one is doubted
_INVENTED = 0.4  # share of networks for which agreement on procedural images found the convention: 7 of 16
_SURPRISE = 0.01  # misfit added to BGR, which is rare
_TOO_SURE = 0.05  # misfit added to [0, 255]: without BatchNorm layers of ReLUs name the same classes, far too surely
_BYTES = "[0, 255]"
_PLAIN: Mapping[str, tuple[float, float]] = {"[0, 1]": (0.0, 1.0), "[-1, 1]": (0.5, 0.5), _BYTES: (0.0, 1 / 255)}
_GREY: Mapping[str, tuple[float, float]] = {"MNIST": (0.1307, 0.3081), "Fashion-MNIST": (0.2860, 0.3530)}
_COLOUR: _Statistics = {
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "GTSRB": ((0.3403, 0.3121, 0.3214), (0.2724, 0.2608, 0.2669)),
}
_CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "GTSRB": 43, "MNIST": 10, "Fashion-MNIST": 10}


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Conventions, the best first, with their misfits.

    `confidence` is the share of bootstrap resamples of images (and BatchNorm channels) in which the best, or one
    that differs from it by less than matters, stays ahead, times trust in the judges: exp(-BatchNorm misfit), or
    where there is no BatchNorm 1 on clean images and 0.4 on procedural ones. So it is 0..1, and low both when
    conventions tie and when none fits.
    """

    names: tuple[str, ...]
    misfits: tuple[float, ...]
    confidence: float
    judged_by: str

    def __str__(self) -> str:
        best, second = (
            f"{name} ({misfit:.2f})" for name, misfit in list(zip(self.names, self.misfits, strict=True))[:2]
        )
        return f"by {self.judged_by}, {best} fits best, then {second}"


def settle(
    net: nn.Module, outside: Geometry, *, flags: Hints, metadata: Hints, probes: Probes, rng: Generator
) -> Preprocessing:
    """The preprocessing to scan with. Raises UsageError where flags do not fit the network's channels."""
    stated = _stated(flags, flags, outside, "flags") or _stated(metadata, flags, outside, "metadata")
    choices = _conventions(outside, probes.source, bgr=_first_known(flags.bgr, metadata.bgr))
    if stated is not None:
        return _doubted(stated, net, outside, choices, probes, rng)
    ranking = rank(net, outside, choices, probes, rng=rng)
    sure = ranking.confidence >= SURE
    return replace(
        choices[ranking.names[0]],
        source="inferred" if sure else "assumed",
        confidence=ranking.confidence,
        detail=_sentences(str(ranking), outside.doubt),
    )


def rank(
    net: nn.Module, outside: Geometry, choices: Mapping[str, Preprocessing], probes: Probes, *, rng: Generator
) -> Ranking:
    """Judges every choice on the probes; see convention_fit for the judges."""
    classifiers = {name: _wrapped(net, outside, choice) for name, choice in choices.items()}
    found = judges(next(iter(classifiers.values())), probes, rng=rng)
    by_judge = {
        judge: torch.stack([measure(classifier) for classifier in classifiers.values()], 1)
        for judge, measure in found.items()
    }
    if probes.labels is not None and not _above_chance(by_judge["labels"], probes.labels):
        del by_judge["labels"]  # numbered in another order, or of other classes: preflight says so
    handicap = torch.tensor([_SURPRISE * choice.bgr + _TOO_SURE * (_BYTES in name) for name, choice in choices.items()])
    misfits = torch.stack(list(by_judge.values())).sum(0) + handicap
    misfits = misfits.nan_to_num(nan=math.inf)
    order = misfits[0].argsort()
    names = [list(choices)[i] for i in order]
    alike = torch.tensor([equivalent(choices[names[0]], choice) for choice in choices.values()])
    steady = alike[misfits.argmin(1)].float().mean().item()
    return Ranking(
        names=tuple(names),
        misfits=tuple(misfits[0][order].tolist()),
        confidence=steady * _trust(by_judge, order[0], probes.source),
        judged_by=" and ".join(by_judge),
    )


def _above_chance(misfits: Float[Tensor, "r m"], labels: Labels) -> bool:
    """Whether under any convention twice as many labels are met as by always naming the most frequent one."""
    return bool(1 - misfits[0].min() > 2 * labels.bincount().max() / len(labels))


def _trust(by_judge: Mapping[str, Float[Tensor, "r m"]], best: Tensor, source: ProbeSource) -> float:
    """How far the judges themselves can be believed, 0..1."""
    if "BatchNorm" in by_judge:
        return math.exp(-by_judge["BatchNorm"][0, best].item())
    return 1.0 if source is ProbeSource.CLEAN else _INVENTED


def equivalent(one: Preprocessing, other: Preprocessing) -> bool:
    """Whether two conventions differ by no more than ImageNet's and CIFAR-10's do, which no network minds."""
    if one.bgr != other.bgr:
        return False
    shift = (torch.tensor(one.mean) - torch.tensor(other.mean)).abs().max().item()
    stretch = (torch.tensor(one.std) / torch.tensor(other.std)).log().abs().max().item()
    return shift <= 0.06 and stretch <= math.log(1.25)


def _doubted(
    stated: Preprocessing,
    net: nn.Module,
    outside: Geometry,
    choices: Mapping[str, Preprocessing],
    probes: Probes,
    rng: Generator,
) -> Preprocessing:
    """What was stated, with the reason to doubt it if another convention fits a BatchNorm far better."""
    if not remembers_inputs(_wrapped(net, outside, stated)):
        return replace(stated, detail=outside.doubt)
    ranking = rank(net, outside, {f"the one from {stated.source}": stated, **choices}, probes, rng=rng)
    behind = ranking.misfits[ranking.names.index(f"the one from {stated.source}")] - ranking.misfits[0]
    doubt = ranking.confidence >= SURE and behind >= _FAR
    detail = _sentences(str(ranking) if doubt else "", outside.doubt)
    return replace(stated, confidence=1 - ranking.confidence if doubt else None, detail=detail)


def _stated(hints: Hints, flags: Hints, outside: Geometry, source: str) -> Preprocessing | None:
    """What `hints` say of mean, deviation and range, silence completed; None where they say nothing."""
    if hints.mean is None and hints.std is None and hints.scale is None:
        return None
    mean = hints.mean or (0.0,)
    std = hints.std or (1 / (hints.scale or 1),)
    for name, values in (("mean", mean), ("standard deviation", std)):
        if len(values) not in (1, outside.shape[0]):
            raise UsageError(
                f"the {name} from the {source} has {len(values)} values for {outside.shape[0]} channels",
                remedy="Give one value, or one for each channel.",
            )
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise UsageError(f"the mean {mean} and standard deviation {std} from the {source} cannot be used")
    bgr = bool(_first_known(flags.bgr, hints.bgr))
    return Preprocessing(mean=mean, std=std, layout=outside.layout, bgr=bgr, source=source)


def _conventions(outside: Geometry, source: ProbeSource, *, bgr: bool | None) -> dict[str, Preprocessing]:
    """The conventions in use for this number of channels, by name. Invented images cannot tell BGR from RGB."""
    named: _Statistics = {name: ((mean,), (std,)) for name, (mean, std) in _PLAIN.items()}
    datasets: Mapping[int, _Statistics] = {
        1: {name: ((mean,), (std,)) for name, (mean, std) in _GREY.items()},
        3: _COLOUR,
    }
    for name, statistics in datasets.get(outside.shape[0], {}).items():
        if _CLASSES.get(name, outside.classes) == outside.classes:
            named[f"{name} statistics"] = statistics
    orders = {bgr} if bgr is not None else {False, outside.shape[0] == 3 and source is ProbeSource.CLEAN}
    return {
        f"{name} in BGR" if order else name: Preprocessing(
            mean=mean, std=std, layout=outside.layout, bgr=order, source="inferred"
        )
        for order in sorted(orders)
        for name, (mean, std) in named.items()
    }


def _wrapped(net: nn.Module, outside: Geometry, choice: Preprocessing) -> Classifier:
    return Classifier(
        net=net, preprocessing=choice, classes=outside.classes, shape=outside.shape, output=outside.output
    )


def _first_known(*values: bool | None) -> bool | None:
    return next((value for value in values if value is not None), None)


def _sentences(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
