"""`bdscan detectors`, `rules` and `explain`: what bdscan can measure, how it judges, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modelscan_bd.rule import GraphRule, Rule, VerdictRule


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def detectors(as_json: bool) -> None:
    """Lists what can be measured, and what each measurement is blind to."""
    from modelscan_bd import registry

    cards = [detector.card for detector in registry.installed().values()]
    if as_json:
        shown = [vars(card) | {"scores": dict(card.scores), "needs": sorted(card.needs)} for card in cards]
        click.echo(json.dumps(shown, indent=2))
        return
    for card in cards:
        needs = ", ".join(sorted(card.needs)) or "nothing but the model"
        click.echo(f"{card.id}: {card.title}\n  sees: {card.sees}\n  blind to: {card.blind_to}")
        click.echo(f"  needs: {needs}; takes {card.cost.value}; runs from --effort {card.effort.value} on")
        click.echo(f"  paper: {card.paper}" + (f"\n  published: {card.published}" if card.published else ""))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def rules(as_json: bool) -> None:
    """Lists which measurements count, and how they are judged together."""
    from dataclasses import asdict

    from modelscan_bd import rulebook

    book = rulebook.load()
    if as_json:
        click.echo(json.dumps([asdict(rule) for rule in book], indent=2))
        return
    whole = book.verdict
    click.echo(
        f"{whole.id}  all measurements together: suspicious where at most {whole.suspicious:.0%} of benign models are "
        f"as unusual, infected at {whole.infected:.0%}  ({whole.title})"
    )
    for rule in book.measured:
        base = rule.calibration
        known = "" if base.auroc is None else f", AUROC {base.auroc:.2f}"
        click.echo(f"{rule.id}  {rule.detector} {rule.score}: counts{known}  ({rule.title})")
    for pattern in book.graph:
        click.echo(f"{pattern.id}  the graph, {pattern.pattern}: {pattern.severity.value}  ({pattern.title})")
    for fact in book.file:
        click.echo(f"{fact.id}  the file itself  ({fact.title})")


@click.command()
@click.argument("rule_id", metavar="RULE")
def explain(rule_id: str) -> None:
    """Says why a rule exists, what to do when it fires, and how it was calibrated."""
    from modelscan_bd import rulebook
    from modelscan_bd.rule import GraphRule, Rule, VerdictRule

    rule = rulebook.load().find(rule_id)
    click.echo(f"{rule.id}: {rule.title}\n\nWhy: {rule.why}\n\nWhat to do: {rule.remedy}\n\nSource: {rule.paper}")
    if isinstance(rule, Rule):
        click.echo(_calibration(rule))
    if isinstance(rule, GraphRule):
        click.echo(_bounds(rule))
    if isinstance(rule, VerdictRule):
        click.echo(_promise(rule))


def _calibration(rule: Rule) -> str:
    base = rule.calibration
    known = "no infected models to compare with"
    if base.auroc is not None and base.interval is not None:
        known = f"AUROC {base.auroc:.2f} (95 % interval {base.interval[0]:.2f} to {base.interval[1]:.2f})"
    return (
        f"\nCounts {rule.score} of {rule.detector}. Measured on {base.benign} benign and {base.infected} infected "
        f"models ({base.suite}, {base.date}): {known}."
    )


def _bounds(rule: GraphRule) -> str:
    bounds = [f"{name} at least {level:g}" for name, level in rule.at_least.items()]
    bounds += [f"{name} at most {level:g}" for name, level in rule.at_most.items()]
    return f"\nA pattern of the graph ({rule.pattern}): {', '.join(bounds) or 'wherever it is seen'}."


def _promise(rule: VerdictRule) -> str:
    base = rule.promise
    (low, high), (low_infected, high_infected) = base.interval, base.infected_interval
    return (
        f"\nSuspicious where at most {rule.suspicious:.0%} of benign models are as unusual, infected at "
        f"{rule.infected:.0%}.\nMeasured on {base.benign} benign models ({base.suite}, {base.date}; {base.method}): "
        f"{base.false_alarms:.1%} called suspicious or worse (95 % interval {low:.1%} to {high:.1%}), "
        f"{base.false_infected:.1%} infected ({low_infected:.1%} to {high_infected:.1%})."
    )
