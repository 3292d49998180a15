"""Ways to judge all scores together, side by side on the known models, and what each group of scores adds.

    python tests/compare_fusion.py                          # each data set judged by the others, with clean images
    python tests/compare_fusion.py --sort network --tier none
    python tests/compare_fusion.py --suites old             # `cpu` and `variety` alone, on which the choice was made

The mean of robust deviations is what a scan uses (`modelscan_bd/standing.py`). The others: Cauchy and harmonic means of
the scores' own p-values (Liu and Xie 2020, https://doi.org/10.1080/01621459.2018.1554485; Wilson 2019,
https://doi.org/10.1073/pnas.1814092116), the smallest of them (Bonferroni), the largest deviation, and a monotone
stack: a logistic regression with weights of no less than zero, learnt from known models of other data sets (or
networks) and other kinds of attack. Whatever the way, a model is alarmed on by the share of benign models that are as
far out. Scores are those of detector_zoo.csv; those that meta-classifiers gave to models they have learnt from are
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import click
import detector_zoo
import numpy as np
from scipy.optimize import minimize

from modelscan_bd import registry, rulebook, stats
from modelscan_bd.bench.protocol import SORTS, Rate
from modelscan_bd.bench.zoo import suite
from modelscan_bd.known import KnownModel
from modelscan_bd.standing import deviations
from modelscan_bd.types import Tier

Rows = np.ndarray  # (models, scores)
Fusion = Callable[[Rows, Rows], np.ndarray]  # pooled scores and their deviations -> one number for each model
UNSEEN = "no trigger"  # shown, and not in the mean over kinds
_RIDGE = 5.0
_LEAST_P = 1e-12


def ranks(pooled: Rows) -> Rows:
    """Each score's own p-value among the pooled models."""
    return np.stack([(pooled >= row).mean(0) for row in pooled])


def cauchy(pooled: Rows, _: Rows) -> np.ndarray:
    return np.tan((0.5 - np.clip(ranks(pooled), _LEAST_P, 1 - 1e-3)) * np.pi).mean(1)


def harmonic(pooled: Rows, _: Rows) -> np.ndarray:
    return -1 / (1 / ranks(pooled)).mean(1)


def smallest(pooled: Rows, _: Rows) -> np.ndarray:
    return -ranks(pooled).min(1)


FUSIONS: Mapping[str, Fusion] = {
    "mean of deviations": lambda _, out: out.mean(1),
    "Cauchy": cauchy,
    "harmonic": harmonic,
    "smallest p": smallest,
    "largest deviation": lambda _, out: out.max(1),
}


CANDIDATES = (
    "verification.verified_index", "mm-bd.surprise", "noise-response.patch_share", "channel-lipschitz.deviations",
    "mntd.jumbo", "ulp.litmus",
)  # fmt: skip


@click.command()
@click.option("--sort", type=click.Choice(list(SORTS)), default="data set", show_default=True, help="What is left out.")
@click.option("--tier", type=click.Choice([tier.value for tier in Tier]), default="images", show_default=True)
@click.option("--suites", type=click.Choice(["all", "old"]), default="all", show_default=True)
def main(sort: str, tier: str, suites: str) -> None:
    book = rulebook.load()
    keys = [rule.key for rule in book.measured]
    models = _models(book.known, Tier(tier))
    if suites == "old":
        old = {entry.name for name in ("cpu", "variety") for entry in suite.load(name).entries}
        models = [model for model in models if model.name in old]
    keys = [key for key in keys if any(key in model.scores for model in models)]
    print(f"{tier}, each {sort} judged by the others; alarms at {book.verdict.suspicious:.0%}")
    print("| how | benign alarmed | infected found | AUROC | mean over kinds |\n|---|---|---|---|---|")
    for name, fusion in FUSIONS.items():
        _print(name, models, _held_out(models, keys, sort, fusion), book.verdict.suspicious)
    _print("monotone stack", models, _stacked(models, keys, sort), book.verdict.suspicious)
    mean = FUSIONS["mean of deviations"]
    for title, others in _ablations(keys).items():
        _print(title, models, _held_out(models, others, sort, mean), book.verdict.suspicious)


def _models(known: Sequence[KnownModel], tier: Tier) -> list[KnownModel]:
    """The known models with every score that was measured, but for what a detector had learnt from."""
    learnt = {name: set(d.learnt_from()) for name, d in registry.installed().items() if hasattr(d, "learnt_from")}
    facts = {model.name: model for model in known if model.tier is tier}
    return [
        replace(
            facts[result["model"]],
            scores={
                f"{detector}.{name}": value
                for detector, scores in result["scores"].items()
                if result["model"] not in learnt.get(detector, ())
                for name, value in scores.items()
            },
        )
        for result in detector_zoo.results(tier.value, detector_zoo.ALL_DATA)
        if result["model"] in facts
    ]


def _ablations(keys: Sequence[str]) -> dict[str, list[str]]:
    """What counts without some detectors, with one more score, and each score alone."""
    groups = {
        "inversion of patches": ("neural-cleanse", "pixel", "mesa"),
        "other inversion": ("dct-inversion", "warp-inversion"),
        "the last layer": ("head-signature",),
    }
    without = {
        f"mean, without {title}": [key for key in keys if key.partition(".")[0] not in detectors]
        for title, detectors in groups.items()
        if any(key.partition(".")[0] in detectors for key in keys)
    }
    more = {f"mean, with {key}": [*keys, key] for key in CANDIDATES}
    every = {"mean, with all of these": [*keys, *CANDIDATES]}
    return without | more | every | {f"{key} alone": [key] for key in (*keys, *CANDIDATES)}


def _matrix(models: Sequence[KnownModel], keys: Sequence[str]) -> Rows:
    return np.array([[model.scores[key] for key in keys] for model in models])


def _held_out(models: Sequence[KnownModel], keys: Sequence[str], sort: str, fusion: Fusion) -> dict[str, np.ndarray]:
    """Of each model that has all scores: what it came to, after what the benign models of the others came to."""
    having = [model for model in models if all(key in model.scores for key in keys)]
    found = {}
    for model in having:
        pool = [one for one in having if not one.infected and SORTS[sort](one) != SORTS[sort](model)]
        pooled = _matrix([*pool, model], keys)
        found[model.name] = fusion(pooled, deviations(pooled))
    return found


def _stacked(models: Sequence[KnownModel], keys: Sequence[str], sort: str) -> dict[str, np.ndarray]:
    """As `_held_out`; weights are learnt anew for each model, without its kind and without its sort."""
    having = [model for model in models if all(key in model.scores for key in keys)]
    found, learnt = {}, dict[tuple[object, str], np.ndarray]()
    for model in having:
        others = [one for one in having if SORTS[sort](one) != SORTS[sort](model)]
        group = (SORTS[sort](model), model.kind)
        if group not in learnt:
            learnt[group] = _weights([one for one in others if not one.infected or one.kind != model.kind], keys)
        pooled = _matrix([*[one for one in others if not one.infected], model], keys)
        found[model.name] = deviations(pooled) @ learnt[group]
    return found


def _weights(models: Sequence[KnownModel], keys: Sequence[str]) -> np.ndarray:
    """Logistic regression, both sides of equal weight, with weights of no less than zero."""
    infected = np.array([model.infected for model in models])
    out, sign = deviations(_matrix(models, keys)), np.where(infected, 1.0, -1.0)
    share = np.where(infected, 0.5 / infected.sum(), 0.5 / (~infected).sum()) * len(models)

    def loss(values: np.ndarray) -> float:
        margins = sign * (out @ values[:-1] + values[-1])
        return float((share * np.logaddexp(0, -margins)).sum() + _RIDGE / 2 * (values[:-1] ** 2).sum())

    bounds = [(0.0, None)] * len(keys) + [(None, None)]
    return np.asarray(minimize(loss, np.zeros(len(keys) + 1), method="L-BFGS-B", bounds=bounds).x[:-1])


def _print(name: str, models: Sequence[KnownModel], found: Mapping[str, np.ndarray], level: float) -> None:
    judged = [model for model in models if model.name in found]
    p = {key: float((values >= values[-1]).mean()) for key, values in found.items()}
    if not any(model.infected for model in judged) or all(model.infected for model in judged):
        return
    rates = [_alarms([model for model in judged if model.infected is side], p, level) for side in (False, True)]
    kinds = sorted({model.kind for model in judged if model.infected} - {UNSEEN})
    each = [_auroc(judged, found, kind) for kind in kinds]
    shares = [f"{rate.count} of {rate.n}" for rate in rates]
    print(f"| {name} | {' | '.join(shares)} | {_auroc(judged, found, None):.3f} | {np.mean(each):.3f} |", flush=True)


def _alarms(models: Sequence[KnownModel], p: Mapping[str, float], level: float) -> Rate:
    return Rate(count=sum(p[model.name] <= level for model in models), n=len(models))


def _auroc(models: Sequence[KnownModel], found: Mapping[str, np.ndarray], kind: str | None) -> float:
    benign = [float(found[model.name][-1]) for model in models if not model.infected]
    return stats.auroc(benign, [float(found[m.name][-1]) for m in models if m.infected and kind in (None, m.kind)])


if __name__ == "__main__":
    main()
