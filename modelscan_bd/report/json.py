"""The machine format. A frozen copy of the nouns, so that the nouns may change and `bdscan-report/2` does not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from modelscan_bd.inputs import Preprocessing
from modelscan_bd.results import Check, Evidence, Finding, Judgement, ModelFacts, Outcome, Report

SCHEMA = "bdscan-report/2"


def render(report: Report, pictures: Mapping[str, tuple[str, ...]]) -> str:
    """Strict JSON in ASCII: no NaN, and nothing a terminal would obey."""
    return json.dumps(document(report, pictures), indent=2, allow_nan=False) + "\n"


def document(report: Report, pictures: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The report as `report/schema.json` describes it. Scores that are no numbers become null."""
    return {
        "schema": SCHEMA,
        "tool": report.tool,
        "model": _model(report.model),
        "verdict": report.verdict.value,
        "summary": report.summary,
        "score": _number(report.score),
        "judgement": None if report.judgement is None else _judgement(report.judgement),
        "target_labels": list(report.target_labels),
        "findings": [_finding(finding) for finding in report.findings],
        "evidence": [_outcome(outcome, pictures.get(outcome.detector, ())) for outcome in report.evidence],
        "preflight": [_check(check) for check in report.preflight],
        "incomplete": list(report.incomplete),
        "settings": dict(report.settings),
        "seed": report.seed,
        "started": report.started,
        "seconds": _number(round(report.seconds, 3)),
    }


def _model(model: ModelFacts) -> dict[str, Any]:
    return {
        "path": model.path,
        "sha256": model.sha256,
        "format": model.format,
        "architecture": model.architecture,
        "family": model.family,
        "num_classes": model.num_classes,
        "input": None if model.input is None else list(model.input),
        "preprocessing": None if model.preprocessing is None else _preprocessing(model.preprocessing),
        "notes": list(model.notes),
    }


def _preprocessing(preprocessing: Preprocessing) -> dict[str, Any]:
    return {
        "mean": [_number(value) for value in preprocessing.mean],
        "std": [_number(value) for value in preprocessing.std],
        "layout": preprocessing.layout.value,
        "bgr": preprocessing.bgr,
        "source": preprocessing.source,
        "confidence": None if preprocessing.confidence is None else _number(preprocessing.confidence),
        "detail": preprocessing.detail,
    }


def _judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        "tier": judgement.tier.value,
        "stratum": judgement.stratum,
        "benign": judgement.benign,
        "p": _number(judgement.p),
        "tail": _number(judgement.tail),
        "scores": list(judgement.scores),
        "reach": [{"kind": one.kind, "found": one.found, "models": one.models} for one in judgement.reach],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "value": _number(finding.value),
        "threshold": _number(finding.threshold),
        "target_label": finding.target_label,
        "detector": finding.detector,
        "place": finding.place,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _outcome(outcome: Outcome, files: tuple[str, ...]) -> dict[str, Any]:
    evidence = outcome if isinstance(outcome, Evidence) else Evidence(detector=outcome.detector, scores={})
    return {
        "detector": outcome.detector,
        "status": outcome.status,
        "reason": None if isinstance(outcome, Evidence) else outcome.reason,
        "scores": {name: _number(value) for name, value in evidence.scores.items()},
        "per_class": {name: [_number(value) for value in values] for name, values in evidence.per_class.items()},
        "details": {name: [_number(value) for value in values] for name, values in evidence.details.items()},
        "seconds": _number(round(evidence.seconds, 3)),
        "artefacts": list(files),
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "passed": check.passed,
        "fatal": check.fatal,
        "message": check.message,
        "remedy": check.remedy,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
