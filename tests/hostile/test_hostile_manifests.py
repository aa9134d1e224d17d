"""Manifests that try to exhaust time or memory, to run code, or to leave the results folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bounded_process import SECONDS, Refusal, refusals

from stimgen.errors import InputError
from stimgen.manifest import sources
from stimgen.manifest.document import ManifestError
from stimgen.manifest.load import load_manifest

HEAD = "stimgen: 1\nname: hostile\nimage: {size_px: 32}\n"
GOOD = HEAD + "sources: ['skimage:brick']\ncontrols: [original]\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
TEXTS = {
    "billion_laughs": (LAUGHS, "more than 200000 values after expanding aliases"),
    "long_text_many_aliases": (
        f"a: &a '{'x' * 200_000}'\nb: [{'*a, ' * 20_000}]\n",
        "more than 1 million characters after expanding aliases",
    ),
    "brackets": ("[" * 400_000, "nested deeper than 30"),
    "unknown_keys": (GOOD + "".join(f"k{i}: 1\n" for i in range(2000)), "more than 1000 problems"),
    "missing_files": (f"{HEAD}controls: [original]\nsources: [{'gone.png, ' * 1500}]\n", "1000 problems"),
    "too_many_stimuli": (
        GOOD + "seeds: {count: 100000}\nlayer_sets: {" + "".join(f"s{i}: [pool1], " for i in range(50)) + "}",
        "make 5100000 stimuli, more than 1000000",
    ),
    "too_many_repeats": (f"{GOOD}trials: {{design: oddity, repeats: 10000000000}}\n", "trials.repeats"),
    "everything": (f"{HEAD}controls: [original]\nsources: ['/**/*.no_such_ending']\n", "sources[0]"),
    "stars": (f"{HEAD}controls: [original]\nsources: ['{'**/' * 50}*.none']\n", "no file matches"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refusal]:
    folder = tmp_path_factory.mktemp("hostile")
    for name, (text, _) in TEXTS.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return refusals(
        "load_manifest(path)",
        "from stimgen.manifest.load import load_manifest",
        [folder / f"{name}.yaml" for name in TEXTS],
    )


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_manifest_is_refused_in_limited_time_and_memory(
    name: str, outcomes: dict[str, Refusal]
) -> None:
    outcome = outcomes[f"{name}.yaml"]
    assert (outcome.kind, outcome.code) == ("ManifestError", 2)
    assert TEXTS[name][1] in outcome.message
    assert outcome.seconds < SECONDS
    assert len(outcome.message) < 100_000


def refusal(folder: Path, text: str | bytes) -> str:
    path = folder / "m.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    return str(caught.value)


def test_tag_runs_nothing(tmp_path: Path) -> None:
    payload = tmp_path / "executed"
    tagged = f"{GOOD}description: !!python/object/apply:os.system ['touch {payload}']\n"
    assert "m.yaml:6:14: description: the tag" in refusal(tmp_path, tagged)
    assert not payload.exists()


@pytest.mark.parametrize("coding", ["utf-16", "utf-32"])
def test_other_encoding_is_refused(coding: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, (GOOD + "description: größe\n").encode(coding))
    assert "is not UTF-8" in message or "U+0000 is not allowed" in message


@pytest.mark.parametrize("text", ['description: "%s"', '"key%s": 1'])
def test_control_character_is_refused(text: str, tmp_path: Path) -> None:
    for escape in ("\\e[31m", "\\0", "\\x9b", "\\ud800"):
        message = refusal(tmp_path, f"{GOOD}{text % escape}\n")
        assert "a backslash begins an escape" in message
        assert message.isprintable()


@pytest.mark.parametrize("number", ["1e400", "-.inf", ".nan", "9" * 10_000])
def test_number_that_is_not_finite_is_refused(number: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, f"{GOOD}accept: {{gram_relative_max: {number}}}\n")
    assert "gram_relative_max" in message
    assert len(message) < 1000


WORDS = [
    "../x", "..", "a.", "/etc", "con", "LPT9", "=1", "-1", "1e5", "[a]", "$x", "None", "nan", "é", "x\n", "",
]  # fmt: skip


@pytest.mark.parametrize("place", ["name", "source", "layer set", "control", "trials"])
def test_id_that_is_no_file_name_or_is_evaluated_is_refused(place: str, tmp_path: Path) -> None:
    for word in WORDS:
        quoted = '"' + word.replace("\n", "\\n") + '"'
        text = {
            "name": GOOD.replace("hostile", quoted),
            "source": GOOD.replace("'skimage:brick'", f"{{id: {quoted}, image: 'skimage:brick'}}"),
            "layer set": f"{GOOD}layer_sets: {{{quoted}: [pool1]}}\n",
            "control": GOOD.replace("original", f"{{name: original, id: {quoted}}}"),
            "trials": f"{GOOD}trials: {{design: oddity, id: {quoted}}}\n",
        }[place]
        assert "id" in refusal(tmp_path, text), word


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for file in ("/dev/zero", "/dev/stdin", "./pipe.png"):
        assert "no file" in refusal(tmp_path, GOOD.replace("skimage:brick", file))
        assert "no weights file" in refusal(tmp_path, f"{GOOD}network: {{name: vgg16, weights: {file}}}\n")
        with pytest.raises(ManifestError, match="Not a regular file"):
            load_manifest(tmp_path / file)
    assert "no file matches" in refusal(tmp_path, GOOD.replace("skimage:brick", "*.png"))


def test_file_names_become_ids_or_are_refused(tmp_path: Path) -> None:
    (tmp_path / "con.png").touch()
    path = tmp_path / "good.yaml"
    path.write_text(GOOD.replace("skimage:brick", "*.png"))
    assert [source.id for source in load_manifest(path).sources] == ["source_con"]
    assert load_manifest(path).output == tmp_path / "results" / "hostile"
    for name in (b"\xff.png", b"\x1b[31m.png"):
        path = tmp_path / os.fsdecode(name)
        path.touch()
        message = refusal(tmp_path, GOOD.replace("skimage:brick", "*.png"))
        assert "is no plain text; rename the file" in message
        assert message.isprintable()
        path.unlink()


def test_patterns_match_as_in_a_shell(tmp_path: Path) -> None:
    for name in ("a.png", ".hidden.png", "b/c.png", "b/.d/e.png", "b/f/g.png", "[x].png", "h.PNG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")

    def matches(pattern: str) -> list[str]:
        return sources.matching_files(pattern, tmp_path)

    assert matches("*.png") == ["[x].png", "a.png", "h.PNG"]
    assert matches(".*.png") == [".hidden.png"]
    assert matches("**/*.png") == ["[x].png", "a.png", "b/c.png", "b/f/g.png", "h.PNG"]
    assert matches("**/**/g.png") == ["b/f/g.png"]
    assert matches("b/**") == ["b/c.png", "b/f/g.png"]
    assert matches("b/*/g.png") == ["b/f/g.png"]
    assert matches("b/../?.png") == ["b/../a.png", "b/../h.PNG"]
    assert matches("[[]x].png") == ["[x].png"]
    assert matches("*/loop/a.png") == ["b/loop/a.png"]
    assert matches(f"{tmp_path}/b/*.png") == [f"{tmp_path.as_posix()}/b/c.png"]
    assert matches("a.png/*") == matches("nowhere/*") == []


def test_pattern_looks_at_a_limited_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcd":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").touch()
    monkeypatch.setattr(sources, "MAX_ENTRIES", 8)
    assert len(sources.matching_files("*/*.png", tmp_path)) == 4
    with pytest.raises(InputError, match="looks at more than 8"):
        sources.matching_files("**/*.none", tmp_path)
