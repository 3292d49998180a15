"""How long a scan takes at each effort, by network and number of classes: random weights, procedural images.

    python tests/compare_effort.py                                   # everything; an hour on two cores
    python tests/compare_effort.py --effort quick --net resnet18-w64 --classes 10 --classes 43
    python tests/compare_effort.py --net timm:resnet18 --size 224 --classes 1000 --threads 2

Random weights take the time that trained ones take, except where a search stops early because it has arrived. On a
machine that does other work too, look at the processor time.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch

from modelscan_bd import nets, registry, rulebook, schedule
from modelscan_bd.classifier import Classifier
from modelscan_bd.inspection import inspect_one
from modelscan_bd.probes import procedural
from modelscan_bd.shared import generator
from modelscan_bd.types import Effort, Evidence, Preprocessing, Probes, ProbeSource, Silent, Subject

_IMAGES = 100


@click.command()
@click.option("--net", default="resnet18-w64", show_default=True)
@click.option("--size", default=32, show_default=True, help="Pixels.")
@click.option("--classes", multiple=True, type=int, default=(10, 43, 100, 1000), show_default=True)
@click.option("--effort", "efforts", multiple=True, type=click.Choice([e.value for e in Effort]), default=("standard",))
@click.option("--detectors", default="", help="Only these.")
@click.option("--clean", is_flag=True, help="Call the images clean, so that what needs clean ones runs too.")
@click.option("--threads", default=2, show_default=True)
def main(
    net: str, size: int, classes: tuple[int, ...], efforts: tuple[str, ...], detectors: str, clean: bool, threads: int
) -> None:
    """Seconds of every detector."""
    torch.set_num_threads(threads)
    for effort in efforts:
        for count in classes:
            plugins, chosen = registry.installed(), tuple(name for name in detectors.split(",") if name)
            planned = schedule.plan(plugins, rulebook.load(), chosen=chosen, effort=Effort(effort))
            subject = _subject(net, size, count, clean=clean)
            began, worked = time.perf_counter(), time.process_time()
            for detector in planned:
                click.echo(f"    {detector.card.id:24} {_tried(subject, detector)}")
            spent = f"{time.perf_counter() - began:.1f} s ({time.process_time() - worked:.1f} s of processor time)"
            click.echo(f"{net} {size} px, {count} classes, {effort}: {spent}, {_peak()}")


def _tried(subject: Subject, detector: object) -> str:
    began = time.perf_counter()
    outcome = inspect_one(subject, detector, seed=0, watch=Silent())  # type: ignore[arg-type]
    why = "" if isinstance(outcome, Evidence) else f"{outcome.status}: {outcome.reason}"
    return f"{time.perf_counter() - began:7.1f} s  {why}"


def _subject(net: str, size: int, classes: int, *, clean: bool) -> Subject:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nets.build(net, classes=classes, size=size)
    shape = (3, size, size)
    images = procedural(shape, _IMAGES, rng=generator(0, "images"))
    plain = Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3, source="flags")
    source = ProbeSource.CLEAN if clean else ProbeSource.PROCEDURAL
    return Subject(
        classifier=Classifier(net=module, preprocessing=plain, classes=classes, shape=shape),
        probes=Probes(images=images, labels=None, source=source),
    )


def _peak() -> str:
    """The most memory that the process has had, where the system tells."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)
    return "" if kilobytes is None else f"{kilobytes / 2**20:.1f} GiB at most"


if __name__ == "__main__":
    main()
