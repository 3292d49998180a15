"""`--data`: labels only where folders fit the model, pictures only from inside the folder, broken ones never fatal."""

import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelscan_bd import data
from modelscan_bd.errors import UsageError
from modelscan_bd.types import ProbeSource

SHAPE = (3, 16, 16)


def paint(path, colour, size=(20, 16), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def labelled(tmp_path):
    """Four classes of twelve pictures; the red channel of picture i of class k is 60 * k + i."""
    for k, name in enumerate(("ant", "bee", "cat", "dog")):
        for i in range(12):
            paint(tmp_path / name / f"{i}.png", (60 * k + i, 0, 0))
    return tmp_path


def load(folder, *, shape=SHAPE, classes=4, class_names=None, images=128, seed=0):
    return data.load(
        data.survey(folder),
        shape=shape,
        classes=classes,
        class_names=class_names,
        images=images,
        rng=torch.Generator().manual_seed(seed),
    )


def test_class_folders_label_their_pictures_in_sorted_order(labelled):
    probes = load(labelled)
    assert probes.source is ProbeSource.CLEAN
    assert probes.images.shape == (48, *SHAPE)
    red = (probes.images[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(probes.labels, red // 60)
    assert probes.notes == ()


def test_the_draw_is_balanced_and_chosen_by_the_generator(labelled):
    probes, same, other = (load(labelled, images=32, seed=seed) for seed in (0, 0, 1))
    assert probes.labels.bincount().tolist() == [8, 8, 8, 8]
    assert torch.equal(probes.images, same.images)
    assert not torch.equal(probes.images, other.images)


def test_folders_that_do_not_match_the_classes_are_used_without_labels_and_say_so(labelled):
    probes = load(labelled, classes=10)
    assert probes.labels is None
    assert "4 class folders do not match the model's 10 classes" in probes.notes[0]


@pytest.mark.parametrize(
    ("folders", "classes", "names", "expected"),
    [
        (("ant", "bee"), 2, None, {"ant": 0, "bee": 1}),
        (("Bee", "ant"), 3, ("bee", "cow", "ant"), {"Bee": 0, "ant": 2}),
        (("0", "10", "2"), 11, None, {"0": 0, "10": 10, "2": 2}),
        (("00000", "00042"), 43, None, {"00000": 0, "00042": 42}),
        (("1", "10", "2"), 3, None, {"1": 0, "2": 1, "10": 2}),
        (("1", "01"), 2, None, {"01": 0, "1": 1}),
        (("3", "40"), 10, None, None),
        (("ant", "bee"), 3, ("x", "y", "z"), None),
        ((), 3, None, None),
    ],
)
def test_folder_names_become_class_numbers_only_by_a_known_rule(folders, classes, names, expected):
    found, doubt = data.label_map(folders, classes=classes, class_names=names)
    assert found == expected
    assert bool(doubt) == (expected is None and len(folders) > 0)


@given(st.permutations([f"c{i}" for i in range(6)]))
def test_the_order_in_which_folders_are_listed_does_not_matter(folders):
    assert data.label_map(folders, classes=6, class_names=None)[0] == {f"c{i}": i for i in range(6)}


def test_a_flat_folder_has_no_labels(tmp_path):
    for i in range(33):
        paint(tmp_path / f"{i}.jpg", (i, i, i))
    probes = load(tmp_path)
    assert probes.labels is None
    assert len(probes.images) == 33


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "bmp", "webp"])
def test_every_documented_format_is_read(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    paint(path, (200, 100, 50), size=(16, 16))
    assert data.read_image(path, SHAPE)[:, 8, 8].tolist() == pytest.approx([200 / 255, 100 / 255, 50 / 255], abs=0.02)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    shape=st.tuples(st.sampled_from([1, 3, 4]), st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["L", "RGB", "RGBA", "1", "P", "LA"]),
)
def test_any_picture_fits_any_input(tmp_path_factory, size, shape, mode):
    path = tmp_path_factory.getbasetemp() / "any.png"
    Image.new(mode, size, 1).save(path)
    pixels = data.read_image(path, shape)
    assert pixels.shape == shape
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_the_middle_is_cut_out_of_a_wide_picture(tmp_path):
    pixels = np.zeros((16, 48, 3), dtype=np.uint8)
    pixels[:, 16:32] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert data.read_image(tmp_path / "wide.png", SHAPE).min() == 1


def test_a_picture_of_the_right_size_is_left_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert torch.equal(data.read_image(tmp_path / "x.png", SHAPE), torch.tensor(pixels).permute(2, 0, 1) / 255)


def test_sixteen_bit_grey_is_scaled_rather_than_cut_off(tmp_path):
    Image.fromarray(np.full((16, 16), 32896, dtype=np.uint16)).save(tmp_path / "x.png")
    assert data.read_image(tmp_path / "x.png", (1, 16, 16)).mean().item() == pytest.approx(128 / 255, abs=0.01)


def test_broken_pictures_are_replaced_and_named(labelled):
    (labelled / "ant" / "0.png").write_bytes(b"not a picture")
    (labelled / "bee" / "3.png").write_bytes((labelled / "bee" / "4.png").read_bytes()[:40])
    probes = load(labelled)
    assert len(probes.images) == 46
    assert probes.notes[0].startswith("2 unreadable images were skipped: ")
    assert "0.png" in probes.notes[0]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_a_decompression_bomb_is_skipped_unread(labelled, side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (labelled / "ant" / "bomb.png").write_bytes(bomb)
    assert "bomb.png" in load(labelled).notes[0]


def test_another_format_behind_an_image_suffix_meets_no_decoder(labelled):
    Image.new("RGB", (16, 16)).save(labelled / "ant" / "x.png", format="TIFF")
    assert "x.png" in load(labelled).notes[0]


def test_links_out_of_the_folder_are_not_followed(labelled, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    paint(outside / "secret" / "x.png", (255, 255, 255))
    (labelled / "ant" / "link.png").symlink_to(outside / "secret" / "x.png")
    (labelled / "eel").symlink_to(outside / "secret", target_is_directory=True)
    (labelled / "bee" / "deep").symlink_to(outside / "secret", target_is_directory=True)
    found = data.survey(labelled)
    assert found.classes == ("ant", "bee", "cat", "dog")
    assert sum(map(len, found.files.values())) == 48


def test_pictures_beside_class_folders_are_mentioned(labelled):
    paint(labelled / "stray.png", (1, 2, 3))
    assert "1 images beside the class folders were not used" in load(labelled).notes


def test_too_few_pictures_is_one_sentence(tmp_path):
    for i in range(5):
        paint(tmp_path / f"{i}.png", (i, i, i))
    with pytest.raises(UsageError, match=r"gives 5 usable images .* and 32 are needed"):
        load(tmp_path)


def test_a_folder_without_pictures_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="holds no PNG"):
        data.survey(tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        data.survey(tmp_path / "absent")


def test_channels_that_no_picture_has_are_refused(labelled):
    with pytest.raises(UsageError, match="takes 7 channels"):
        load(labelled, shape=(7, 16, 16))


def test_natural_size_is_known_only_where_pictures_agree(labelled):
    assert data.natural_size(data.survey(labelled)) == (16, 20)
    paint(labelled / "ant" / "0.png", (0, 0, 0), size=(9, 9))
    assert data.natural_size(data.survey(labelled)) is None
