"""Attacks, one trigger each. They plug in by entry point, group `modelscan_bd.attacks`; see `base` for the frame."""

from modelscan_bd.attacks.base import AllToOne as AllToOne
from modelscan_bd.attacks.base import Attack as Attack
from modelscan_bd.attacks.base import AttackCard as AttackCard
from modelscan_bd.attacks.base import Stage as Stage
from modelscan_bd.attacks.base import TriggerKind as TriggerKind
from modelscan_bd.attacks.catalogue import make as make
from modelscan_bd.attacks.catalogue import names as names
