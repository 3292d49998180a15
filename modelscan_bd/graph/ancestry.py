"""A tree that grows, and where two of its nodes meet: soon, however long the ways back are.

Each node knows its parent and one ancestor farther off (Myers 1983); a file may have thousands of long ways.
"""

from __future__ import annotations

from typing import final


@final
class Ancestry:
    """Nodes are counted from 0; -1 is the root. Inside, the root is 0."""

    def __init__(self) -> None:
        self._parents, self._depths, self._leaps = [0], [0], [0]

    @property
    def parents(self) -> tuple[int, ...]:
        return tuple(parent - 1 for parent in self._parents[1:])

    def add(self, parent: int) -> None:
        """The next node."""
        depths, parent = self._depths, parent + 1
        near = self._leaps[parent]
        far = self._leaps[near]
        even = depths[parent] - depths[near] == depths[near] - depths[far]
        self._parents.append(parent)
        self._depths.append(depths[parent] + 1)
        self._leaps.append(far if even else parent)

    def meeting(self, a: int, b: int) -> int:
        """The last node that both come from; one of the two, if the other comes from it."""
        parents, depths, leaps = self._parents, self._depths, self._leaps
        a, b = (a + 1, b + 1) if depths[a + 1] >= depths[b + 1] else (b + 1, a + 1)
        while depths[a] > depths[b]:
            a = leaps[a] if depths[leaps[a]] >= depths[b] else parents[a]
        while a != b:
            a, b = (leaps[a], leaps[b]) if leaps[a] != leaps[b] else (parents[a], parents[b])
        return a - 1
