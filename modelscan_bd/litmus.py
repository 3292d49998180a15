"""Litmus tests: learnt images are shown to a network, and a small learnt reader judges what it answers.

Nothing here depends on a network's classes, their number or their order, nor on the size or channels of its input.
m is the number of learnt images, f of features read from all answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TypeVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn

from modelscan_bd.classifier import Classifier
from modelscan_bd.errors import CannotMeasure, UsageError
from modelscan_bd.types import Images, Shape

Answers = Float[Tensor, "m k"]
Features = Float[Tensor, " f"]
PerClass = Float[Tensor, " k"]
Score = Float[Tensor, ""]

QUERIES = 10
SIDE = 32  # pixels of a learnt image, before it is resized to what a network takes
TOP = 5  # answers of an image that the spectrum keeps
_COARSE, _CONTRAST = 4, 2.0  # of the blotches that learning starts from: white noise tells networks less
_SHIFT = 2  # pixels
_GRAIN = 0.03
_LEAST_SPREAD = 0.3
_LEAST_ANSWER = 1e-5  # standard deviation of a log-probability from image to image
FACTS = "bdscan.meta"  # in a file's metadata

_Test = TypeVar("_Test", bound="LitmusTest")


class LitmusTest(nn.Module):
    """Images as logits of their pixels, and a way to ask with them. Subclasses read the answers."""

    def __init__(self, *, rng: torch.Generator) -> None:
        super().__init__()
        rough = torch.randn(QUERIES, 3, SIDE // _COARSE, SIDE // _COARSE, generator=rng)
        self.canvas = nn.Parameter(_CONTRAST * F.interpolate(rough, size=(SIDE, SIDE), mode="bicubic"))

    def pictures(self, shape: Shape, *, jitter: torch.Generator | None = None) -> Images:
        """The images as a network of that input takes them; with `jitter`, moved a little and grainy."""
        images = self.canvas.sigmoid()
        if jitter is not None:
            dy, dx = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=jitter).tolist()
            grain = _GRAIN * torch.randn(images.shape, generator=jitter)
            images = (images.roll((dy, dx), (2, 3)) + grain).clamp(0, 1)
        c, h, w = shape
        if (h, w) != (SIDE, SIDE):
            images = F.interpolate(images, size=(h, w), mode="bilinear", antialias=True, align_corners=False)
        return images if c == 3 else images.mean(1, keepdim=True).expand(-1, c, -1, -1)

    def answers(self, classifier: Classifier, *, jitter: torch.Generator | None = None) -> Answers:
        """Log-probabilities about their mean over the classes, in standard deviations of all of them.

        That takes away how sure of itself a network is, which tells of its training, not of backdoors.
        """
        said: Tensor = classifier(self.pictures(classifier.shape, jitter=jitter)).log_softmax(1)
        if not said.isfinite().all():
            raise CannotMeasure("the network's outputs are not finite numbers")
        said = said - said.mean(1, keepdim=True)
        if said.std(0).amax() < _LEAST_ANSWER:
            raise CannotMeasure("the network answers the same to every image")
        return said / said.std()

    def settle(self) -> None:
        """Ends learning: the images become what a file holds, in half precision."""
        self.canvas.data = self.canvas.data.half().float()
        self.requires_grad_(False)


@final
class SpectrumTest(LitmusTest):
    """A linear reader of how the answers to each image fall off from the first class to the next ones."""

    def __init__(self, *, rng: torch.Generator) -> None:
        super().__init__(rng=rng)
        self.weight = nn.Parameter(torch.randn(features(QUERIES), generator=rng) / 10)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, classifier: Classifier, jitter: torch.Generator | None = None) -> Score:
        return spectrum(self.answers(classifier, jitter=jitter)) @ self.weight + self.bias


@final
class ClassTest(LitmusTest):
    """One small reader for every class, given that class's answers to all images; the largest reading counts."""

    def __init__(self, *, rng: torch.Generator, hidden: int = 20) -> None:
        super().__init__(rng=rng)
        self.first = nn.Parameter(torch.randn(hidden, QUERIES, generator=rng) / math.sqrt(QUERIES))
        self.offset = nn.Parameter(torch.zeros(hidden))
        self.second = nn.Parameter(torch.randn(hidden, generator=rng) / math.sqrt(hidden))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, classifier: Classifier, jitter: torch.Generator | None = None) -> PerClass:
        """Each class's reading above the median class's."""
        answers = self.answers(classifier, jitter=jitter)
        readings = (answers.T @ self.first.T + self.offset).relu() @ self.second
        return readings - readings.median() + self.bias


@final
class UsualTest(LitmusTest):
    """How far a network's answers are from those of benign ones; its images are blotches, not learnt."""

    mean: Tensor
    spread: Tensor

    def __init__(self, *, rng: torch.Generator) -> None:
        super().__init__(rng=rng)
        self.canvas.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(features(QUERIES)))
        self.register_buffer("spread", torch.ones(features(QUERIES)))

    def forward(self, classifier: Classifier, jitter: torch.Generator | None = None) -> Score:
        far = (spectrum(self.answers(classifier, jitter=jitter)) - self.mean) / self.spread
        return far.square().mean().sqrt()

    @torch.no_grad()
    def fit(self, benign: Sequence[Classifier]) -> None:
        """Sets what is usual. Needs two networks; each feature's spread is kept above a share of the median one."""
        seen = torch.stack([spectrum(self.answers(classifier)) for classifier in benign])
        spread = seen.std(0)
        self.mean.copy_(seen.mean(0))
        self.spread.copy_(spread.clamp_min(_LEAST_SPREAD * float(spread.median())))


def features(queries: int) -> int:
    """How many features the spectrum of the answers to so many images has."""
    return TOP * queries + 4


def spectrum(answers: Answers) -> Features:
    """What stays the same however the classes are numbered, and has one length however many there are.

    For each image: how far the next few classes lie below the first, and the entropy as a share of the largest
    possible. For all images together: how far one class is preferred to others on average.
    """
    few = torch.cat([answers, answers.amin(1, keepdim=True).expand(-1, TOP)], 1)
    top = few.topk(TOP, 1).values
    entropy = -(answers.softmax(1) * answers.log_softmax(1)).sum(1) / math.log(answers.shape[1])
    mean = answers.mean(0)
    first, second = mean.topk(2).values
    overall = torch.stack([first, second, first - second, mean.std()])
    return torch.cat([(top[:, :1] - top[:, 1:]).flatten(), entropy, overall])


# ---------------------------------------------------------------- weights in files


def save(tests: Mapping[str, LitmusTest], file: Path, *, facts: str) -> None:
    """One file for the tests of a detector; `facts` say in JSON what they were trained on and what they reach."""
    from safetensors.torch import save_file

    tensors = {f"{part}.{key}": value for part, test in tests.items() for key, value in test.state_dict().items()}
    smaller = {key: value.half() if key.endswith(".canvas") else value for key, value in tensors.items()}
    save_file(smaller, file, metadata={FACTS: facts})


def load(kind: type[_Test], part: str, file: str) -> _Test:
    """One test of a file. A bare name is a file that ships, anything with an ending is a path.

    Raises UsageError where the file holds no such test.
    """
    test = kind(rng=torch.Generator())
    try:
        tensors = {key: value.float() for key, value in _stored(file).items() if key.startswith(f"{part}.")}
        test.load_state_dict({key.removeprefix(f"{part}."): value for key, value in tensors.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UsageError(f"'{file}' holds no litmus test '{part}'", remedy="Make one with train-meta.") from error
    if not all(value.isfinite().all() for value in tensors.values()):
        raise UsageError(f"the litmus test '{part}' of '{file}' holds numbers that are not finite")
    return test.requires_grad_(False)


def learnt_from(file: str) -> tuple[str, ...]:
    """The names of the models that the tests of a file were trained on: on these they say more than they know."""
    from safetensors import safe_open

    with _located(file) as path, safe_open(path, framework="pt") as stored:
        return tuple(json.loads((stored.metadata() or {}).get(FACTS, "{}")).get("models", ()))


def _stored(file: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    with _located(file) as path:
        return dict(load_file(path))


@contextmanager
def _located(file: str) -> Iterator[Path]:
    if Path(file).suffix:
        yield Path(file)
    else:
        with as_file(files("modelscan_bd") / "meta" / f"{file}.safetensors") as shipped:
            yield shipped
