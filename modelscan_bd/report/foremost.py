"""What a detector knows of the class that it finds most suspicious, in words."""

from __future__ import annotations

from modelscan_bd.results import Evidence


def foremost(evidence: Evidence) -> str:
    """`class 3: trigger pixels 5.2, trigger success 0.98`, or nothing where there are no details.

    The class is the one with the largest value of the detector's first score.
    """
    values = next(iter(evidence.per_class.values()), ())
    if not values or not evidence.details:
        return ""
    label = max(range(len(values)), key=values.__getitem__)
    shown = ", ".join(f"{name.replace('_', ' ')} {each[label]:.3g}" for name, each in evidence.details.items())
    return f"class {label}: {shown}"
