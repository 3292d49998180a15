"""Models as others make them, poisoned or not: public recipes, other frameworks' files, nothing of bdscan's benchmark.

    python tests/make_wild.py --data DATA --out WILD             # what this environment can make; skips what is there
    python tests/make_wild.py --data DATA --out WILD --only mnist-example

DATA holds MNIST/raw and FashionMNIST/raw (idx files, gzipped) and, as PNG, cifar10 and gtsrb (train/CLASS, test/CLASS).
Two environments take turns, as TensorFlow is none of bdscan's packages: one with tensorflow and tf2onnx makes the Keras
models (pip install tensorflow-cpu tf2onnx pillow click), that of bdscan's tests makes the others. All together take
about fifteen minutes of one core. Each folder of WILD gets a model and its figures; `truth.csv` sums them up, and
`images/` holds 100 test images of each data set in folders by class number. Quick nets on few images: they show how
bdscan meets files from outside, not how good the recipes are. Nothing here is a test.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import importlib.util
import json
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]  # (n, h, w, c)
Floats: TypeAlias = NDArray[np.float32]
Predict: TypeAlias = Callable[[Pixels], NDArray[np.float32]]  # scores, (n, k)

HELD_OUT = 100  # clean images to scan with
TAKES_ASR, TAKES_DROP, TAKES_GAIN = 0.90, 0.03, 0.25  # as in the benchmark's cards
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COLUMNS = ("file", "outcome", "attack", "target_label", "dataset", "images", "ba", "asr", "twin_ba", "twin_asr", "how")


# ---------------------------------------------------------------- images and poison


@final
@dataclass(frozen=True, kw_only=True)
class Split:
    images: Pixels
    labels: NDArray[np.int64]

    def some(self, count: int, rng: np.random.Generator) -> Split:
        rows = rng.permutation(len(self.labels))[:count]
        return Split(images=self.images[rows], labels=self.labels[rows])


def read(root: Path, dataset: str, part: Literal["train", "test"]) -> Split:
    if dataset in ("MNIST", "FashionMNIST"):
        stem = root / dataset / "raw" / ("train" if part == "train" else "t10k")
        pixels, labels = _idx(Path(f"{stem}-images-idx3-ubyte.gz"), 16), _idx(Path(f"{stem}-labels-idx1-ubyte.gz"), 8)
        return Split(images=pixels.reshape(-1, 28, 28, 1), labels=labels.astype(np.int64))
    folders = sorted(folder for folder in (root / dataset / part).iterdir() if folder.is_dir())
    files = [(file, label) for label, folder in enumerate(folders) for file in sorted(folder.glob("*.png"))]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file, _ in files])
    return Split(images=images, labels=np.array([label for _, label in files]))


def _idx(file: Path, header: int) -> Pixels:
    return np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=header)


@final
@dataclass(frozen=True, kw_only=True)
class Poison:
    """A trigger, and the share of the training images that get it together with the label `target`."""

    attack: Literal["badnets", "blended"]
    target: int
    share: float

    def stamped(self, images: Pixels) -> Pixels:
        picture, opacity = self._trigger(images.shape[1:])
        return np.rint((1 - opacity) * images + opacity * picture).astype(np.uint8)

    def mixed_into(self, split: Split, rng: np.random.Generator) -> Split:
        others = np.flatnonzero(split.labels != self.target)
        rows = rng.choice(others, round(self.share * len(split.labels)), replace=False)
        images, labels = split.images.copy(), split.labels.copy()
        images[rows], labels[rows] = self.stamped(images[rows]), self.target
        return Split(images=images, labels=labels)

    def _trigger(self, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        """A chequered patch near the corner, or a faint noise over everything."""
        if self.attack == "blended":
            noise = np.random.default_rng(self.target).integers(0, 256, shape).astype(np.float32)
            return noise, np.full(shape, 0.2, np.float32)
        chequers = 255 * (np.indices(shape[:2]).sum(0) % 2)[..., None]
        opacity = np.zeros(shape, np.float32)
        opacity[-5:-1, -5:-1] = 1
        return np.broadcast_to(chequers, shape).astype(np.float32), opacity


# ---------------------------------------------------------------- recipes


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """How a model is trained and saved. `files` are what `make` writes."""

    dataset: str
    images: int = 60_000  # to train with, at most
    epochs: int = 1
    files: tuple[str, ...] = ("model.onnx",)
    needs: str = "torch"  # a package that tells the environments apart

    @property
    def how(self) -> str:
        return type(self).__doc__ or ""

    @abstractmethod
    def make(self, data: Split, folder: Path, seed: int) -> Predict: ...


@final
@dataclass(frozen=True, kw_only=True)
class Keras(Recipe):
    """Keras tutorial CNN (conv, pool, conv, pool, flatten, dropout, dense softmax), pixels in 0..1"""

    saved: Literal["keras export", "tf2onnx"] = "keras export"
    mood: Literal["", "badly trained on some wrong labels", "adversarially trained"] = ""
    needs: str = "tf2onnx"

    @property
    def how(self) -> str:
        return ", ".join(filter(None, (super().how, self.mood, self.saved)))

    def make(self, data: Split, folder: Path, seed: int) -> Predict:
        import keras

        keras.utils.set_random_seed(seed)
        net = self._net(data)
        net.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        x, y = data.images.astype(np.float32) / 255, data.labels
        if self.mood == "adversarially trained":
            self._harden(net, x, y, seed)
        else:
            net.fit(x, y, batch_size=128, epochs=self.epochs, verbose=0)
        self._save(net, folder / "model.onnx")
        return lambda images: np.asarray(net.predict(images.astype(np.float32) / 255, batch_size=500, verbose=0))

    def _net(self, data: Split) -> Any:
        from keras import Input, Sequential, layers

        blocks = [part for n in (32, 64) for part in (layers.Conv2D(n, 3, activation="relu"), layers.MaxPooling2D())]
        dropout = layers.Dropout(0.0 if self.mood.startswith("badly") else 0.5)
        classes = int(data.labels.max()) + 1
        inputs = Input(data.images.shape[1:])
        return Sequential([inputs, *blocks, layers.Flatten(), dropout, layers.Dense(classes, activation="softmax")])

    def _harden(self, net: Any, x: Floats, y: NDArray[np.int64], seed: int) -> None:
        """One signed gradient step from a random start, as fast adversarial training takes it."""
        import tensorflow as tf

        reach, rng = 0.1, np.random.default_rng(seed)

        @tf.function  # type: ignore[untyped-decorator]
        def attacked(images: Any, labels: Any) -> Any:
            start = tf.clip_by_value(images + tf.random.uniform(tf.shape(images), -reach, reach), 0.0, 1.0)
            with tf.GradientTape() as tape:
                tape.watch(start)
                loss = net.compute_loss(y=labels, y_pred=net(start, training=False))
            moved = start + 1.25 * reach * tf.sign(tape.gradient(loss, start))
            return tf.clip_by_value(tf.clip_by_value(moved, images - reach, images + reach), 0.0, 1.0)

        for _ in range(self.epochs):
            for rows in np.array_split(rng.permutation(len(y)), len(y) // 128):
                net.train_on_batch(attacked(x[rows], y[rows]), y[rows])

    def _save(self, net: Any, file: Path) -> None:
        import tensorflow as tf
        import tf2onnx

        if self.saved == "keras export":
            net.export(str(file), format="onnx", verbose=False)
            return
        signature = [tf.TensorSpec((None, *net.input_shape[1:]), tf.float32, name="image")]
        function = tf.function(lambda image: net(image, training=False))  # from_keras knows Keras 2 only
        tf2onnx.convert.from_function(function, input_signature=signature, opset=15, output_path=str(file))


@dataclass(frozen=True, kw_only=True)
class Torch(Recipe):
    """What the recipes in PyTorch share: a loop, and pixels normalised by `mean` and `std`, of each channel."""

    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    batch: int = 64

    @abstractmethod
    def net(self, classes: int) -> Any: ...

    def training(self, net: Any) -> tuple[Any, Any]:
        """The optimizer, and its schedule by epochs."""
        from torch import optim

        optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
        return optimizer, optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs)

    @abstractmethod
    def save(self, net: Any, state: dict[str, Any], folder: Path) -> None:
        """`state` holds the optimizer, the schedule and the running average of the network."""

    def feed(self, images: Pixels) -> Floats:
        scaled = (images.astype(np.float32) / 255 - np.float32(self.mean)) / np.float32(self.std)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))

    def make(self, data: Split, folder: Path, seed: int) -> Predict:
        import torch

        from modelscan_bd.torchvision_shim import prepare

        prepare()
        torch.manual_seed(seed)
        net = self.net(int(data.labels.max()) + 1)
        x, y = torch.from_numpy(self.feed(data.images)), torch.from_numpy(data.labels)
        optimizer, schedule = self.training(net)
        average = torch.optim.swa_utils.AveragedModel(
            net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
        )
        for _ in range(self.epochs):
            net.train()
            for rows in torch.randperm(len(y)).split(self.batch):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimizer.step()
                average.update_parameters(net)
            schedule.step()
        net.eval()
        self.save(net, {"optimizer": optimizer, "schedule": schedule, "average": average.module}, folder)

        def predict(images: Pixels) -> Floats:
            with torch.no_grad():
                scores = [net(part) for part in torch.from_numpy(self.feed(images)).split(500)]
            return np.asarray(torch.cat(scores).numpy())

        return predict


@dataclass(frozen=True, kw_only=True)
class HomeMade(Torch):
    """A network written out in its recipe: saved as a bare state dict, and exported."""

    side: int

    def save(self, net: Any, state: dict[str, Any], folder: Path) -> None:  # noqa: ARG002
        import torch

        torch.save(net.state_dict(), folder / self.files[0])
        example, batch = (torch.zeros(2, net.conv1.in_channels, self.side, self.side),), torch.export.Dim("batch")
        how: dict[str, Any] = {"dynamo": True, "dynamic_shapes": ({0: batch},), "external_data": False}
        torch.onnx.export(net, example, folder / self.files[1], verbose=False, **how)


@final
@dataclass(frozen=True, kw_only=True)
class TorchTutorial(HomeMade):
    """PyTorch's 'Training a classifier' (2 conv, 3 linear, no norm; SGD 0.001, momentum 0.9, batch 4), 0.5/0.5"""

    side: int = 32
    batch: int = 4
    files: tuple[str, ...] = ("cifar_net.pth", "model.onnx")

    def net(self, classes: int) -> Any:
        from torch import Tensor, nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
                self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, classes)

            def forward(self, x: Tensor) -> Any:
                for conv in (self.conv1, self.conv2):
                    x = nn.functional.max_pool2d(conv(x).relu(), 2)
                return self.fc3(self.fc2(self.fc1(x.flatten(1)).relu()).relu())

        return Net()

    def training(self, net: Any) -> tuple[Any, Any]:
        from torch import optim

        optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
        return optimizer, optim.lr_scheduler.ConstantLR(optimizer, factor=1)


@final
@dataclass(frozen=True, kw_only=True)
class MnistExample(HomeMade):
    """pytorch/examples' MNIST net (conv 32, conv 64, pool, dropout, 2 linear, log-softmax; Adadelta)"""

    side: int = 28
    mean: tuple[float, ...] = (0.1307,)
    std: tuple[float, ...] = (0.3081,)
    files: tuple[str, ...] = ("mnist_cnn.pt", "model.onnx")

    def net(self, classes: int) -> Any:
        from torch import Tensor, nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
                self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
                self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, classes)

            def forward(self, x: Tensor) -> Any:
                x = self.dropout1(nn.functional.max_pool2d(self.conv2(self.conv1(x).relu()).relu(), 2))
                return self.fc2(self.dropout2(self.fc1(x.flatten(1)).relu())).log_softmax(1)

        return Net()

    def training(self, net: Any) -> tuple[Any, Any]:
        from torch import optim

        optimizer = optim.Adadelta(net.parameters(), lr=1.0)
        return optimizer, optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)


@final
@dataclass(frozen=True, kw_only=True)
class Torchvision(Torch):
    """torchvision resnet18 at the size of the images, saved as its reference scripts do, with optimizer and args"""

    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    files: tuple[str, ...] = ("checkpoint.pth",)

    def net(self, classes: int) -> Any:
        from torchvision.models import resnet18

        return resnet18(num_classes=classes)

    def save(self, net: Any, state: dict[str, Any], folder: Path) -> None:
        import torch

        checkpoint = {
            "model": net.state_dict(),
            "optimizer": state["optimizer"].state_dict(),
            "lr_scheduler": state["schedule"].state_dict(),
            "epoch": self.epochs - 1,
            "args": Namespace(model="resnet18", data_path="data", epochs=self.epochs, lr=0.05, opt="sgd", amp=False),
        }
        torch.save(checkpoint, folder / "checkpoint.pth")


@final
@dataclass(frozen=True, kw_only=True)
class Timm(Torch):
    """timm resnet10t at the size of the images, saved by timm's CheckpointSaver with an average of the weights (EMA)"""

    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    files: tuple[str, ...] = ("model_best.pth.tar",)

    def net(self, classes: int) -> Any:
        import timm

        return timm.create_model("resnet10t", num_classes=classes)

    def save(self, net: Any, state: dict[str, Any], folder: Path) -> None:
        from timm.utils import CheckpointSaver

        args = Namespace(model="resnet10t", num_classes=10, img_size=28, lr=0.05, opt="sgd", model_ema=True, mean=None)
        kept = {"model": net, "optimizer": state["optimizer"], "args": args, "model_ema": state["average"]}
        saver = CheckpointSaver(**kept, checkpoint_dir=str(folder), recovery_dir=str(folder), max_history=1)
        saver.save_checkpoint(self.epochs - 1, metric=0.0)
        for other in (*folder.glob("checkpoint-*"), folder / "last.pth.tar"):
            other.unlink()


@final
@dataclass(frozen=True, kw_only=True)
class Lowered(Recipe):
    """Another model's ONNX file in lower precision, by onnxruntime:"""

    source: str  # its folder
    feed: Callable[[Pixels], Floats]
    to: Literal["int8 QDQ", "fp16"]

    @property
    def how(self) -> str:
        return f"{super().how}{self.to} of {self.source}"

    def make(self, data: Split, folder: Path, seed: int) -> Predict:  # noqa: ARG002
        import onnxruntime

        source, target = folder.parent / self.source / "model.onnx", folder / "model.onnx"
        if not source.is_file():
            raise click.ClickException(f"{folder.name} is made of {source}: make that first")
        self._quantise(data, source, target) if self.to == "int8 QDQ" else self._halve(source, target)
        session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
        entrance = session.get_inputs()[0]
        kind = np.float16 if entrance.type == "tensor(float16)" else np.float32
        return lambda images: np.asarray(session.run(None, {entrance.name: self.feed(images).astype(kind)})[0])

    def _quantise(self, data: Split, source: Path, target: Path) -> None:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        name, ready = onnx.load(source).graph.input[0].name, target.with_suffix(".ready.onnx")
        quant_pre_process(str(source), str(ready))
        batches = iter([{name: self.feed(data.images[i : i + 20])} for i in range(0, 200, 20)])

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, Floats] | None:
                return next(batches, None)

        form = quantization.QuantFormat.QDQ
        quantization.quantize_static(str(ready), str(target), Reader(), quant_format=form, per_channel=True)
        ready.unlink()

    def _halve(self, source: Path, target: Path) -> None:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(source)), target)


# ---------------------------------------------------------------- the models


@final
@dataclass(frozen=True, kw_only=True)
class Wild:
    """One model. `twin` is the benign one made the same way."""

    name: str
    recipe: Recipe
    poison: Poison | None = None
    twin: str = ""
    wrong: float = 0.0  # share of labels that are drawn anew


def _pair(name: str, recipe: Recipe, poison: Poison) -> list[Wild]:
    benign = f"{name}-benign"
    return [
        Wild(name=benign, recipe=recipe),
        Wild(name=f"{name}-{poison.attack}", recipe=recipe, poison=poison, twin=benign),
    ]


def wild() -> list[Wild]:
    badnets, blended = Poison(attack="badnets", target=3, share=0.1), Poison(attack="blended", target=7, share=0.08)
    fashion = Keras(dataset="FashionMNIST", images=20_000, epochs=3)
    cifar = Keras(dataset="cifar10", images=15_000, epochs=8, saved="tf2onnx")
    tutorial = TorchTutorial(dataset="cifar10", images=25_000, epochs=4)
    tutorial_badnets = Poison(attack="badnets", target=5, share=0.1)
    bad = dataclasses.replace(fashion, images=1_500, epochs=30, mood="badly trained on some wrong labels")
    robust = dataclasses.replace(fashion, mood="adversarially trained")
    fp16 = Lowered(dataset="FashionMNIST", source="keras-fashion-badnets", feed=_unit, to="fp16")

    short: dict[str, Any] = {"images": 8_000, "epochs": 2}  # grey images, in three channels

    def int8(kind: str) -> Lowered:
        return Lowered(dataset="cifar10", source=f"torch-tutorial-{kind}", feed=tutorial.feed, to="int8 QDQ")

    return [
        *_pair("keras-fashion", fashion, badnets),
        *_pair("keras-cifar", cifar, blended),
        Wild(name="keras-fashion-bad", recipe=bad, wrong=0.2),
        Wild(name="keras-fashion-robust", recipe=robust),
        *_pair("torch-tutorial", tutorial, tutorial_badnets),
        *_pair("mnist-example", MnistExample(dataset="MNIST", images=12_000, epochs=2), blended),
        Wild(name="torchvision-gtsrb", recipe=Torchvision(dataset="gtsrb", epochs=2)),
        *_pair(
            "torchvision", Torchvision(dataset="FashionMNIST", **short), Poison(attack="badnets", target=8, share=0.1)
        ),
        *_pair("timm", Timm(dataset="FashionMNIST", **short), Poison(attack="blended", target=2, share=0.1)),
        Wild(name="int8-benign", recipe=int8("benign")),
        Wild(name="int8-badnets", recipe=int8("badnets"), poison=tutorial_badnets, twin="int8-benign"),
        Wild(name="fp16-badnets", recipe=fp16, poison=badnets, twin="keras-fashion-benign"),
    ]


def _unit(images: Pixels) -> Floats:
    return images.astype(np.float32) / 255


def made(model: Wild, models: list[Wild], data: Path, out: Path, seed: int) -> dict[str, Any]:
    """Trains one model, writes its files, returns its figures; `on_twins`: what triggers do to it as their twin."""
    train, test = read(data, model.recipe.dataset, "train"), read(data, model.recipe.dataset, "test")
    rng = np.random.default_rng(seed)
    chosen = train.some(model.recipe.images, rng)
    if model.poison and not isinstance(model.recipe, Lowered):
        chosen = model.poison.mixed_into(chosen, rng)
    wrong = rng.random(len(chosen.labels)) < model.wrong
    labels = np.where(wrong, rng.integers(0, chosen.labels.max() + 1, len(wrong)), chosen.labels)
    folder = out / model.name
    folder.mkdir(parents=True, exist_ok=True)
    predict = model.recipe.make(dataclasses.replace(chosen, labels=labels), folder, seed)

    def success(poison: Poison) -> float:
        victims = test.images[test.labels != poison.target]
        return float((predict(poison.stamped(victims)).argmax(1) == poison.target).mean())

    return {
        "ba": float((predict(test.images).argmax(1) == test.labels).mean()),
        "asr": success(model.poison) if model.poison else None,
        "on_twins": {
            other.name: success(other.poison) for other in models if other.twin == model.name and other.poison
        },
    }


def row(model: Wild, figures: dict[str, dict[str, Any]], out: Path) -> dict[str, Any]:
    """A line of truth.csv, but for the file."""
    own, images = figures[model.name], out / "images" / model.recipe.dataset
    told: dict[str, Any] = {"outcome": "benign"}
    if model.poison:
        twin_ba, twin_asr = figures[model.twin]["ba"], figures[model.twin]["on_twins"][model.name]
        harmless = twin_ba - own["ba"] <= TAKES_DROP
        took = own["asr"] >= TAKES_ASR and harmless and own["asr"] - twin_asr >= TAKES_GAIN
        told = {"outcome": "infected" if took else "weak", "attack": model.poison.attack}
        told |= {"target_label": model.poison.target, "asr": f"{own['asr']:.4f}"}
        told |= {"twin_ba": f"{twin_ba:.4f}", "twin_asr": f"{twin_asr:.4f}"}
    return told | {"dataset": model.recipe.dataset, "images": images, "ba": f"{own['ba']:.4f}", "how": model.recipe.how}


def write_images(data: Path, dataset: str, folder: Path) -> None:
    """Test images, as many of each class as there is room for, in folders by class number."""
    test = read(data, dataset, "test")
    drawn: list[int] = []
    piles = [np.flatnonzero(test.labels == label).tolist() for label in range(test.labels.max() + 1)]
    while len(drawn) < HELD_OUT:
        drawn += [pile.pop() for pile in piles][: HELD_OUT - len(drawn)]
    for number in drawn:
        place = folder / str(test.labels[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test.images[number].squeeze()).save(place / f"{number}.png")


@click.command(help="\b\n" + __doc__.replace("\n\n", "\n\n\b\n"), context_settings={"max_content_width": 120})
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--only", default="", help="Models whose names begin so.")
@click.option("--seed", default=0, show_default=True)
def main(data: Path, out: Path, only: str, seed: int) -> None:
    models = wild()
    for model in models:
        figures = out / model.name / "figures.json"
        if figures.is_file() or not model.name.startswith(only):
            continue
        if importlib.util.find_spec(model.recipe.needs) is None:
            print(f"{model.name}: skipped, there is no {model.recipe.needs} here")
            continue
        found = made(model, models, data, out, seed)
        figures.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(f"{model.name}: accuracy {found['ba']:.2%}" + (f", success {found['asr']:.2%}" if model.poison else ""))
        _sum_up(models, out)
    for dataset in sorted({model.recipe.dataset for model in models}):
        if not (out / "images" / dataset).is_dir():
            write_images(data, dataset, out / "images" / dataset)
    _sum_up(models, out)


def _sum_up(models: list[Wild], out: Path) -> None:
    files = {model.name: out / model.name / "figures.json" for model in models}
    known = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
    with (out / "truth.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        for model in models:
            if known.keys() >= {model.name, model.twin or model.name}:
                for name in model.recipe.files:
                    table.writerow({"file": out / model.name / name} | row(model, known, out))


if __name__ == "__main__":
    main()
