from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stimgen.decoding.dataset import find_images, refuse_other_classes, refuse_shared_groups
from stimgen.errors import InputError


def make(folder, *files):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return folder


def test_images_are_found_by_class_in_a_fixed_order(tmp_path):
    make(
        tmp_path,
        "b/2.png",
        "b/1.JPEG",
        "a/9.tif",
        "a/notes.txt",
        "a/.hidden.png",
        "a/deeper/0.png",
        ".x/1.png",
    )
    found = [(image.label, image.path.name) for image in find_images(tmp_path)]
    assert found == [("a", "9.tif"), ("b", "1.JPEG"), ("b", "2.png")]


def test_without_a_pattern_every_image_is_a_group(tmp_path):
    make(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    assert len({image.group for image in find_images(tmp_path)}) == 3


def test_the_group_is_what_the_pattern_finds(tmp_path):
    make(tmp_path, "a/oak-1.png", "a/oak-2.png", "a/ash-1.png", "b/oak-3.png")
    found = {
        f"{image.label}/{image.path.name}": image.group for image in find_images(tmp_path, "^(.+)-[0-9]+$")
    }
    assert found == {"a/oak-1.png": "oak", "a/oak-2.png": "oak", "a/ash-1.png": "ash", "b/oak-3.png": "oak"}
    assert {image.group for image in find_images(tmp_path, "^[a-z]+")} == {"oak", "ash"}


@given(st.lists(st.text("abc.-_ 01", min_size=1, max_size=12), max_size=20, unique=True))
def test_names_of_any_shape_have_the_group_before_their_number(stems):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        usable = [f"g{stem}" for stem in stems]
        make(Path(folder), "z/first-0001.png", *(f"a/{stem}-0001.png" for stem in usable), "a/last-0001.png")
        found = {image.path.stem: image.group for image in find_images(Path(folder), "^(.+)-[0-9]+$")}
    assert found == {f"{stem}-0001": stem for stem in [*usable, "first", "last"]}


@pytest.mark.parametrize(
    ("files", "pattern", "message"),
    [
        (["1.png", "a/1.png", "b/1.png"], None, r"images that are in no class: .*1\.png"),
        (["a/1.png"], None, "has 1 classes, and decoding needs 2 or more"),
        (["a/1.png", "b/1.txt"], None, "There are no images in .*b"),
        (["a/1.png", "b/1.png"], "(", "is not a regular expression"),
        (["a/1.png", "b/1.png"], "^(.+)-[0-9]+$", "finds no group in the name of .*a/1.png"),
        (["a/1.png", "b/1.png"], "(x)?", "finds no group in the name of"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, files, pattern, message):
    make(tmp_path, *files)
    with pytest.raises(InputError, match=message) as error:
        find_images(tmp_path, pattern)
    assert error.value.cure


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        find_images(tmp_path / "none")


def test_both_folders_have_the_same_classes(tmp_path):
    one = find_images(make(tmp_path / "one", "a/1.png", "b/1.png", "c/1.png"))
    two = find_images(make(tmp_path / "two", "a/1.png", "b/1.png", "d/1.png"))
    with pytest.raises(InputError, match="on one side only: c, d"):
        refuse_other_classes(one, two)
    refuse_other_classes(one, one)


def test_no_group_is_in_both_folders(tmp_path):
    one = find_images(make(tmp_path / "one", "a/oak-1.png", "b/ash-1.png"), "^[a-z]+")
    two = find_images(make(tmp_path / "two", "a/elm-1.png", "b/oak-7.png"), "^[a-z]+")
    with pytest.raises(InputError, match="1 groups are in the training and in the test folder: oak"):
        refuse_shared_groups(one, two)
