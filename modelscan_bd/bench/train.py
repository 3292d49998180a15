"""The one training loop: resumable, on the GPU where there is one, the data on the device as one tensor of bytes."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelscan_bd import nets
from modelscan_bd.attacks import Attack
from modelscan_bd.bench import export
from modelscan_bd.bench.card import TrainedCard
from modelscan_bd.bench.datasets import Bytes, Dataset, Split, to_bytes, to_unit
from modelscan_bd.bench.evaluate import Normalise, accuracy, attack_success
from modelscan_bd.bench.recipe import Recipe, augment
from modelscan_bd.errors import UsageError
from modelscan_bd.types import Images, Labels, Silent, Watch

Loss = Callable[[nn.Module, Images, Labels], Tensor]  # what one step makes smaller; attacks on the loss bring their own


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """All that decides what the model becomes, but for the data. `attack` None gives the benign twin."""

    arch: str
    attack: Attack | None = None
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0

    def identity(self, data: Dataset) -> str:
        return json.dumps([repr(self), data.name, len(data.train), data.shape])


@dataclass
class _Run:
    """A training under way: everything that changes from step to step."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    rng: torch.Generator
    epoch: int = 0
    seconds: float = 0.0


@final
@dataclass(frozen=True, kw_only=True)
class _Progress:
    """Keeps a run on disk, one state per epoch, and tells the watch."""

    file: Path
    identity: str
    watch: Watch

    def save(self, run: _Run) -> None:
        state = {
            "identity": self.identity,
            "epoch": run.epoch,
            "seconds": run.seconds,
            "net": run.net.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "rng": run.rng.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all(),
        }
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    def resume(self, run: _Run) -> None:
        """Goes on from the file, if there is one. Raises UsageError where it belongs to another training."""
        if not self.file.is_file():
            return
        state = torch.load(self.file, weights_only=True, map_location="cpu")
        if state["identity"] != self.identity:
            raise UsageError(f"{self.file} belongs to another training", remedy="Delete it, or choose another --out.")
        run.net.load_state_dict(state["net"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        torch.cuda.set_rng_state_all(state["cuda_rng"])
        run.epoch, run.seconds = state["epoch"], state["seconds"]


def train_model(
    spec: TrainSpec, data: Dataset, *, out: Path, onnx: bool = False, watch: Watch | None = None
) -> TrainedCard:
    """Trains, measures and writes `weights.safetensors`, `card.json` and, if asked, `model.onnx` into `out`.

    A training that was cut off goes on at its last whole epoch and ends in the same weights on the same machine.
    Raises UsageError for an unknown network, or an `out` that belongs to another training.
    """
    out.mkdir(parents=True, exist_ok=True)
    progress = _Progress(file=out / "progress.pt", identity=spec.identity(data), watch=watch or Silent())
    normalise = _normalisation(data)
    poisoned, count = _poisoned(data, spec)
    with torch.random.fork_rng():
        run = _begin(spec, data, normalise.device)
        progress.resume(run)
        _train(run, poisoned, spec.recipe, normalise, progress)
    card = _measured(run, spec, data, count, normalise, out.name)
    export.write_all(run.net.cpu().eval(), card, out, onnx=onnx)
    progress.file.unlink(missing_ok=True)
    return card


def _normalisation(data: Dataset) -> Normalise:
    mean, std = data.statistics()
    return Normalise(mean=mean, std=std, device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _begin(spec: TrainSpec, data: Dataset, device: torch.device) -> _Run:
    torch.manual_seed(spec.seed)  # initial weights and dropout know no other source
    net = nets.build(spec.arch, classes=len(data.class_names), channels=data.shape[0], size=data.shape[1])
    net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _Run(net=net, optimizer=spec.recipe.optimizer(net), rng=torch.Generator().manual_seed(spec.seed))


def cross_entropy(recipe: Recipe) -> Loss:
    def loss(net: nn.Module, images: Images, labels: Labels) -> Tensor:
        with _autocast(images.device):
            return F.cross_entropy(net(images).float(), labels, label_smoothing=recipe.label_smoothing)

    return loss


def _autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the hardware multiplies it; elsewhere it would be slower."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def _poisoned(data: Dataset, spec: TrainSpec) -> tuple[Split, int]:
    """The training set the attacker hands over, as bytes like any other, and how many images he touched."""
    clean = data.train
    if spec.attack is None:
        return clean, 0
    aim = int(spec.attack.goal(clean.labels).max())
    if aim >= len(data.class_names):
        raise UsageError(f"{data.name} has no class {aim}", remedy=f"It has {len(data.class_names)}, from 0.")
    images, labels = spec.attack.poison(to_unit(clean.images), clean.labels, torch.Generator().manual_seed(spec.seed))
    poisoned = Split(images=to_bytes(images), labels=labels)
    touched = (poisoned.images != clean.images).flatten(1).any(1) | (labels != clean.labels)
    return poisoned, int(touched.sum())


def _train(run: _Run, data: Split, recipe: Recipe, normalise: Normalise, progress: _Progress) -> None:
    images, labels = data.images.to(normalise.device), data.labels.to(normalise.device)
    loss = cross_entropy(recipe)
    while run.epoch < recipe.epochs:
        started = time.perf_counter()
        mean_loss = _epoch(run, images, labels, recipe, normalise, loss)
        run.epoch, run.seconds = run.epoch + 1, run.seconds + time.perf_counter() - started
        progress.save(run)
        progress.watch.tick(run.epoch / recipe.epochs, f"epoch {run.epoch}, loss {mean_loss:.3f}")


def _epoch(run: _Run, images: Bytes, labels: Labels, recipe: Recipe, normalise: Normalise, loss: Loss) -> float:
    """One pass over the data; returns the mean loss."""
    run.net.train()
    batches = torch.randperm(len(labels), generator=run.rng).to(images.device).split(recipe.batch)
    total = torch.zeros((), device=images.device)  # stays there: reading it at each step would stall a GPU
    for step, rows in enumerate(batches, start=run.epoch * len(batches)):
        for group in run.optimizer.param_groups:
            group["lr"] = recipe.lr_at(step, recipe.epochs * len(batches))
        value = loss(run.net, normalise(augment(images, rows, recipe, run.rng)), labels[rows])
        run.optimizer.zero_grad()
        value.backward()
        run.optimizer.step()
        total += value.detach()
    return float(total / len(batches))


def _measured(run: _Run, spec: TrainSpec, data: Dataset, poisoned: int, normalise: Normalise, name: str) -> TrainedCard:
    asr, n_asr = attack_success(run.net, spec.attack, data.test, normalise) if spec.attack else (None, 0)
    return TrainedCard(
        name=name,
        attack=spec.attack.card.id if spec.attack else None,
        attack_settings=dataclasses.asdict(spec.attack) if spec.attack else {},  # type: ignore[call-overload]
        target_label=getattr(spec.attack, "target", None),
        poisoning_rate=poisoned / len(data.train),
        poisoned=poisoned,
        ba=accuracy(run.net, data.test, normalise),
        asr=asr,
        dataset=data.name,
        class_names=data.class_names,
        input=data.shape,
        mean=normalise.mean,
        std=normalise.std,
        arch=spec.arch,
        parameters=sum(p.numel() for p in run.net.parameters()),
        recipe=dataclasses.asdict(spec.recipe),
        seed=spec.seed,
        n_train=len(data.train),
        n_test=len(data.test),
        n_asr=n_asr,
        seconds=round(run.seconds, 2),
        images_per_second=round(len(data.train) * run.epoch / max(run.seconds, 1e-9), 1),
        device=str(normalise.device),
        torch=torch.__version__,
    )
