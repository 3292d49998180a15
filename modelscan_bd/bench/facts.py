"""What results say of their models, before anything is counted: types are checked, and nobody is counted twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType

from modelscan_bd import registry
from modelscan_bd.bench.card import Outcome
from modelscan_bd.bench.store import Result
from modelscan_bd.errors import UsageError

_BEYOND = 1e30  # nothing that is measured is; sums of squares still are numbers
_NUMBER = (int, float, NoneType)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "attack": (str, NoneType),
    "outcome": (str,),
    "target_label": (int, NoneType),
    "ba": _NUMBER,
    "asr": _NUMBER,
    "dataset": (str,),
    "arch": (str,),
    "recipe": (str, NoneType),
    "poisoning_rate": _NUMBER,
    "classes": (int, NoneType),
    "input": (list, tuple, NoneType),
}


def countable(results: Sequence[Result]) -> list[Result]:
    """One result for each model and tier, that of the lowest seed, with the scores that say something.

    Raises UsageError where what is said of a model is of a wrong type.
    """
    learnt = learnt_from()
    ordered = sorted(results, key=lambda result: (result["model"], result["tier"], result["seed"]), reverse=True)
    first = {(result["model"], result["tier"]): result for result in ordered}
    return [_honest(_checked(result), learnt) for result in reversed(first.values())]


def _checked(result: Result) -> Result:
    truth = result["truth"]
    for key, types in _TYPES.items():
        if not isinstance(truth.get(key), types) or isinstance(truth.get(key), bool):
            raise UsageError(f"the results say of '{result['model']}' that its {key} is {truth.get(key)!r}")
    if truth["outcome"] not in list(Outcome) or (truth["outcome"] == Outcome.INFECTED and not truth["attack"]):
        raise UsageError(f"the results say of '{result['model']}' that it is {truth['outcome']!r}, by no attack")
    for detector, scores in result["scores"].items():
        if any(abs(value) > _BEYOND for value in scores.values()):
            raise UsageError(f"a score of {detector} on '{result['model']}' is beyond {_BEYOND:g}")
    return result


def learnt_from() -> dict[str, frozenset[str]]:
    """The models that a detector was trained on, by detector."""
    return {
        name: frozenset(detector.learnt_from())
        for name, detector in registry.installed().items()
        if hasattr(detector, "learnt_from")
    }


def _honest(result: Result, learnt: Mapping[str, frozenset[str]]) -> Result:
    """Without the scores of detectors that have learnt from this very model."""
    biased = {detector for detector, models in learnt.items() if result["model"] in models}
    return {
        **result,
        **{part: {name: v for name, v in result[part].items() if name not in biased} for part in ("scores", "top")},
    }
