"""Known models: the table reads back, and like is compared with like as far as there are models enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscan_bd import known
from modelscan_bd.errors import UsageError
from modelscan_bd.known import KnownModel
from modelscan_bd.types import Strata, Tier, Traits

STRATA = Strata(least=5, classes=(20, 100), size=(64,))
SMALL = Traits(family="convolutional", classes=10, size=32)


def model(name: str, traits: Traits = SMALL, *, infected: bool = False, **more: object) -> KnownModel:
    fields: dict[str, object] = {
        "tier": Tier.IMAGES, "dataset": "signs", "arch": "cnn-w8", "recipe": "r", "scores": {"d.x": 1.0},
    }  # fmt: skip
    return KnownModel(name=name, traits=traits, infected=infected, **(fields | more))  # type: ignore[arg-type]


def many(count: int, traits: Traits = SMALL) -> list[KnownModel]:
    return [model(f"{traits.family}-{traits.classes}-{traits.size}-{i}", traits) for i in range(count)]


@given(st.dictionaries(st.sampled_from(["d.x", "d.y", "e.z"]), st.floats(-1e6, 1e6)), st.booleans())
def test_a_table_reads_back_to_five_digits(scores: dict[str, float], infected: bool) -> None:
    attack = {"attack": "badnets", "kind": "patch"} if infected else {}
    written = model('a,b "c"', infected=infected, scores=scores, **attack)
    (read,) = known.parse(known.render([written]), origin="t")
    assert (read.name, read.infected, read.attack, read.traits) == (
        written.name, written.infected, written.attack, written.traits,
    )  # fmt: skip
    assert read.scores == pytest.approx(scores, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("benign", "harmless"), "harmless"),
        (("1\n", "nan\n"), "finite"),
        (("1\n", "one\n"), "one"),
        (("images", "pictures"), "pictures"),
        (("outcome", "result"), "outcome"),
        (("32", "wide"), "wide"),
    ],
)
def test_a_wrong_table_is_one_sentence(change: tuple[str, str], complaint: str) -> None:
    text = known.render([model("a")])
    assert change[0] in text
    with pytest.raises(UsageError, match=complaint) as caught:
        known.parse(text.replace(*change), origin="mine.csv")
    assert str(caught.value).startswith("mine.csv: ")


def test_the_nearest_stratum_is_taken_where_it_has_models_enough() -> None:
    other = Traits(family="transformer or linear", classes=10, size=32)
    found = known.pool([*many(5), *many(9, other)], SMALL, Tier.IMAGES, {"d.x"}, STRATA)
    assert {one.traits for one in found.benign} == {SMALL}
    assert found.title == "convolutional networks, at most 64 pixels, at most 20 classes"


def test_a_small_stratum_falls_back_to_a_wider_one_and_says_so() -> None:
    other = Traits(family="transformer or linear", classes=10, size=32)
    found = known.pool([*many(4), *many(9, other)], SMALL, Tier.IMAGES, {"d.x"}, STRATA)
    assert len(found.benign) == 13
    assert found.title == "at most 64 pixels, at most 20 classes"


def test_where_nothing_is_alike_all_models_are_taken() -> None:
    huge = Traits(family="convolutional", classes=1000, size=224)
    found = known.pool(many(9), huge, Tier.IMAGES, {"d.x"}, STRATA)
    assert (len(found.benign), found.title) == (9, "all networks")


def test_only_models_of_the_tier_that_have_all_scores_are_compared_with() -> None:
    everyone = [model("a"), model("b", tier=Tier.NONE), model("c", scores={"d.y": 1.0}), model("d", infected=True)]
    found = known.pool(everyone, SMALL, Tier.IMAGES, {"d.x"}, STRATA)
    assert [one.name for one in found.benign] == ["a"]
    assert [one.name for one in found.infected] == ["d"]
