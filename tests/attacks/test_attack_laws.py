"""Laws that every attack keeps; a new one is tested here as soon as its entry point exists."""

from importlib.metadata import entry_points

import pytest
import torch

from modelscan_bd import attacks
from modelscan_bd.attacks import Attack
from modelscan_bd.errors import UsageError

SHAPES = [(24, 3, 32, 32), (24, 1, 28, 28)]


@pytest.fixture(params=attacks.names())
def attack(request: pytest.FixtureRequest) -> Attack:
    return attacks.make(request.param, {})


def batch(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(4)
    return torch.rand(shape, generator=rng), torch.randint(10, shape[:1], generator=rng)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def test_entry_points_and_cards_use_the_same_names() -> None:
    points = entry_points(group="modelscan_bd.attacks")
    assert {point.name: point.load().card.id for point in points} == {name: name for name in attacks.names()}
    assert "badnets" in attacks.names()


def test_a_card_says_who_the_attack_is(attack: Attack) -> None:
    assert attack.card.title
    assert attack.card.paper.startswith("https://")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stamp_keeps_shape_type_and_range(attack: Attack, shape: tuple[int, ...]) -> None:
    images, _ = batch(shape)
    for given in (images, images.double()):
        stamped = attack.stamp(given)
        assert (stamped.shape, stamped.dtype, stamped.device) == (given.shape, given.dtype, given.device)
        assert stamped.min() >= 0
        assert stamped.max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stamp_changes_every_image_but_never_in_place(attack: Attack, shape: tuple[int, ...]) -> None:
    images, _ = batch(shape)
    before = images.clone()
    stamped = attack.stamp(images)
    assert torch.equal(images, before)
    assert (stamped != images).flatten(1).any(1).all()


def test_a_stamp_does_not_depend_on_its_neighbours(attack: Attack) -> None:
    images, _ = batch(SHAPES[0])
    assert torch.equal(attack.stamp(images), attack.stamp(images))
    assert torch.equal(attack.stamp(images)[5:6], attack.stamp(images[5:6]))


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.25, 0.5])
def test_exactly_the_asked_share_is_poisoned(attack: Attack, rate: float) -> None:
    attack = attacks.make(attack.card.id, {"rate": rate})
    images, labels = torch.rand(200, 3, 32, 32, generator=rng()), torch.arange(200) % 10
    poisoned, relabelled = attack.poison(images, labels, rng())
    touched = (poisoned != images).flatten(1).any(1)
    assert touched.sum() == round(rate * 200)
    if not attack.card.clean_label:
        assert torch.equal(relabelled != labels, touched)
        assert torch.equal(relabelled[touched], attack.goal(labels)[touched])
    assert torch.equal(relabelled[~touched], labels[~touched])
    assert torch.equal(poisoned[touched], attack.stamp(images[touched]))


def test_poisoning_leaves_its_arguments_alone_and_repeats_itself(attack: Attack) -> None:
    images, labels = batch(SHAPES[0])
    before, labels_before = images.clone(), labels.clone()
    first, second = (attack.poison(images, labels, rng()) for _ in range(2))
    other = attack.poison(images, labels, torch.Generator().manual_seed(10))
    assert torch.equal(images, before)
    assert torch.equal(labels, labels_before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


def test_more_poison_than_other_classes_is_refused(attack: Attack) -> None:
    greedy = attacks.make(attack.card.id, {"rate": 0.95})
    images, labels = batch(SHAPES[0])
    with pytest.raises(UsageError, match=r"0\.95"):
        greedy.poison(images, greedy.goal(labels), rng())


def test_unknown_names_and_values_end_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="badnets"):
        attacks.make("badnet", {})
    with pytest.raises(UsageError, match="side"):
        attacks.make("badnets", {"sides": "3"})
    with pytest.raises(UsageError, match="of type int"):
        attacks.make("badnets", {"side": "three"})
    with pytest.raises(UsageError, match="checkerboard"):
        attacks.make("badnets", {"pattern": "tartan"})
