"""States that a pickle gives to what it has built: attributes that act run when the model does."""

from __future__ import annotations

from typing import Final

from modelscan_bd.audit.measures import holds_items
from modelscan_bd.audit.names import Grade
from modelscan_bd.audit.note import Note
from modelscan_bd.audit.rules import OVERRIDES, RUNS_CODE
from modelscan_bd.audit.tell import call_text, shown, text
from modelscan_bd.audit.values import Call, Items, Name, Value
from modelscan_bd.grades import Severity

_METHODS: Final = ("forward", "__", "_call", "_wrapped_call", "_slow_forward", "_compiled_call")
_CONTAINERS: Final = frozenset({"_modules", "_parameters", "_buffers"})
_INERT: Final = (Grade.CALL, Grade.BYTES, Grade.PLAIN, Grade.SPARSE, Grade.STREAM)


def judge(owner: Name, state: Value, position: int, note: Note) -> None:
    """Notes upon a state that is given to what `owner` has made."""
    if owner.grade is Grade.PARTIAL:
        if not _is_usual_partial(state):
            args = state if isinstance(state, tuple) else (state,)
            note(RUNS_CODE, Severity.HIGH, f"calls {call_text(owner, args)}, which no model writer does", position)
    elif owner.grade is Grade.ARRAY:
        return  # joblib's wrapper: what it says of the array has been followed
    elif isinstance(state, Items):
        _judge_attributes(owner, state, position, note)
    elif owner.grade is Grade.LAYER:
        note(OVERRIDES, Severity.HIGH, f"gives {owner.full} a state that is no dictionary", position)
    elif isinstance(state, tuple) and any(isinstance(part, Items) and _has_acting(part) for part in state):
        note(OVERRIDES, Severity.HIGH, f"gives {shown(owner.full)} functions of its own", position)


def acts(value: Value) -> bool:
    """Whether a value could be called."""
    if isinstance(value, Call):
        return not (isinstance(value.function, Name) and value.function.grade in _INERT)
    return isinstance(value, Name) and value.grade is not Grade.NAME


def _is_usual_partial(state: Value) -> bool:
    """(function, arguments, keywords, attributes), of which only keywords are given, and plain ones."""
    if not (isinstance(state, tuple) and len(state) == 4 and state[1] == () and isinstance(state[2], Items)):
        return False
    bound = isinstance(state[0], Name) and state[0].grade in (Grade.LAYER, Grade.NAME)
    return bound and not _has_acting(state[2])


def _has_acting(items: Items) -> bool:
    return any(acts(value) for _, value in items.pairs)


def _judge_attributes(owner: Name, state: Items, position: int, note: Note) -> None:
    for key, value in state.pairs:
        label = key if isinstance(key, str) else text(key)
        hooked = "_hooks" in label and isinstance(value, (Call, Items, list)) and holds_items(value)
        replaced = label.startswith(_METHODS) and isinstance(value, (Name, Call))
        running = acts(value) and label not in _CONTAINERS and not _is_innocent(owner, value)
        if hooked or replaced or running:
            what = f"gives {shown(owner.full)} {'hooks' if hooked else 'something to run'} as {shown(label)}"
            note(OVERRIDES, Severity.HIGH, what, position)


def _is_innocent(owner: Name, value: Value) -> bool:
    """Classes and bound classes that a network keeps for building its layers; plain objects may hold anything."""
    if owner.grade is not Grade.LAYER:
        return owner.grade in (Grade.PLAIN, Grade.UNKNOWN, Grade.CODE)
    function = value.function if isinstance(value, Call) else value
    wanted = Grade.PARTIAL if isinstance(value, Call) else Grade.LAYER
    return isinstance(function, Name) and function.grade is wanted
