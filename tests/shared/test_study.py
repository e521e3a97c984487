import json
from collections.abc import Callable

import pytest

from shared.errors import InputError
from shared.study import MINIMAL, Input, parse_study, spec_hash, study_hash
from shared.wire import pack, unpack


@pytest.mark.parametrize(
    ("old", "new", "key", "hint"),
    [
        ("rounds = 2", "round = 2", "training.round", "Did you mean 'rounds'?"),
        ("rounds = 2", "", "training.rounds", "Add training.rounds"),
        ("rounds = 2", "rounds = 0", "training.rounds", ">= 1"),
        ("batch = 8", 'batch = "8"', "training.batch", "got '8'"),
        ("learning_rate = 0.1", "learning_rate = nan", "training.learning_rate", "> 0"),
        ("[federation]", "[federations]", "federations", "Did you mean 'federation'?"),
        ('"minimal"', '"Not a name"', "name", "matching"),
        ('["clear", "nodule"]', '["a", "a"]', "task", "labels that differ"),
        ("local_steps = 2", "", "training", "exactly one of local_steps and local_epochs"),
        ('mode = "off"', 'mode = "local"', "privacy", "epsilon, delta, clip and sampling_rate"),
        ('mode = "off"', 'mode = "off"\nepsilon = 1', "privacy", 'mode = "off"'),
        ("min_sites = 2", "min_sites = 1", "federation.min_sites", ">= 2"),
        ("size = [32, 32]", "size = [32]", "input.size", "length >= 2"),
        ("size = [32, 32]", "size = [8, 32, 32]", "input", 'size and spacing of 2 numbers with kind = "image"'),
        ("size = [32, 32]", 'size = [32, 32]\nkind = "volume"', "input", "of 3 numbers"),
        ("size = [32, 32]", "size = [32, 32]\nspacing = [1, 1, 1]", "input", "of 2 numbers"),
        ("size = [32, 32]", 'size = [32, 32]\nkind = "stack"', "input", "neighbours above 0"),
        ("size = [32, 32]", "size = [32, 32]\nneighbours = 1", "input", 'kind = "stack"'),
        ("size = [32, 32]", 'size = [8, 32, 32]\nkind = "volume"\ncolor = true', "input", "color only"),
        ("size = [32, 32]", "size = [32, 32]\nwindow = [40, 0]", "input", "the width above 0"),
        ("size = [32, 32]", "size = [32, 32]\nwindow = [nan, 1]", "input", "window as [centre, width]"),
        ('name = "cnn"', 'name = "cnn"\nscale = [0.5, 0]', "model.scale", ">= 0.001"),
        ("[task]", "[task", "study.toml", "valid TOML"),
    ],
)
def test_an_error_names_the_key(old: str, new: str, key: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_study(MINIMAL.replace(old, new))
    assert key in str(caught.value)
    assert hint in str(caught.value)
    assert caught.value.exit_status == 2


HOSTILE = ["a\x1b[31mb", "a\nb", "A\n", "a\u202eb", "a\x9b31mb", "[red]a", "x" * 65, ""]
#: Words like others: the hospital's commands show them as text.
HARMLESS = {("option", ""), ("label", "[red]a")}
FIELDS: dict[str, tuple[Callable[[str], str], str]] = {
    "name": (lambda word: MINIMAL.replace('"minimal"', word), "name"),
    "label": (lambda word: MINIMAL.replace('"nodule"', word), "task"),
    "modality": (lambda word: MINIMAL.replace('"DX"', word), "input.modalities"),
    "model": (lambda word: MINIMAL.replace('"cnn"', word), "model.name"),
    "option": (lambda word: MINIMAL.replace('"cnn"', f'"cnn"\noptions = {{ pooling = {word} }}'), "model.options"),
    "option's name": (lambda word: MINIMAL.replace('"cnn"', f'"cnn"\noptions = {{ {word} = 1 }}'), "model.options"),
}


@pytest.mark.parametrize(
    ("field", "hostile"), [(field, word) for field in FIELDS for word in HOSTILE if (field, word) not in HARMLESS]
)
def test_no_word_of_a_study_steers_a_terminal(field: str, hostile: str) -> None:
    written, where = FIELDS[field]
    with pytest.raises(InputError) as caught:
        parse_study(written(json.dumps(hostile)))
    assert f"study.toml: {where}" in str(caught.value)


def test_labels_may_be_words_of_any_language() -> None:
    assert parse_study(MINIMAL.replace('"nodule"', '"結節 (≥ 6 mm)"')).task.labels[1] == "結節 (≥ 6 mm)"


def test_private_studies_do_not_tell_patient_counts() -> None:
    private = MINIMAL.replace(
        'mode = "off"', 'mode = "local"\nepsilon = 8\ndelta = 1e-5\nclip = 1\nsampling_rate = 0.1'
    )
    parse_study(private)
    with pytest.raises(InputError, match="local_steps"):
        parse_study(private.replace("local_steps = 2", "local_epochs = 2"))
    with pytest.raises(InputError, match="counts are private"):
        parse_study(private.replace("batch = 8", 'batch = 8\nclass_weights = "balanced"'))


def test_volumes_and_stacks_say_their_shape() -> None:
    volume = parse_study(MINIMAL.replace("size = [32, 32]", 'size = [8, 16, 32]\nkind = "volume"\nspacing = [5, 1, 1]'))
    assert volume.input.shape == (1, 8, 16, 32)
    stack = parse_study(MINIMAL.replace("size = [32, 32]", 'size = [16, 32]\nkind = "stack"\nneighbours = 2'))
    assert stack.input.shape == (5, 16, 32)


def test_volumes_are_not_seen_in_all_symmetries_of_a_square() -> None:
    volumes = MINIMAL.replace("size = [32, 32]", 'size = [8, 16, 32]\nkind = "volume"')
    parse_study(volumes)
    with pytest.raises(InputError, match=r"evaluation\.views"):
        parse_study(volumes + "[evaluation]\nviews = 8\n")


def makers(*names: str) -> str:
    return f'[evaluation]\nsubgroups = ["manufacturer"]\nmanufacturers = {list(names)}\n'


def labelled(*labels: str, mirrored: tuple[str, ...] = ()) -> str:
    pairs = f"\nmirrored = [{list(mirrored)}]" if mirrored else ""
    return MINIMAL.replace('["clear", "nodule"]', f"{list(labels)}{pairs}")


SIDED = MINIMAL.replace('["clear", "nodule"]', '["left lung", "right lung"]')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SIDED.replace("batch = 8", 'batch = 8\naugmentation = ["flip"]'), "some labels say left or right"),
        (SIDED + "[evaluation]\nviews = 2\n", r"some labels say left or right \(left lung, right lung\)"),
        (SIDED + "[evaluation]\nviews = 8\n", "views of 1 or 2 where labels say a side"),
        (SIDED.replace("batch = 8", 'batch = 8\naugmentation = ["quarter"]'), "what is turned has none"),
        (labelled("shadow (left)", "heart") + "[evaluation]\nviews = 2\n", r"left or right \(shadow \(left\)\)"),
        (
            labelled("left lung", "right lung", "left-sided fracture", mirrored=("left lung", "right lung"))
            + "[evaluation]\nviews = 2\n",
            r"left or right \(left-sided fracture\)",
        ),
        (SIDED.replace('lung"]', 'lung"]\nmirrored = [["left lung", "lung"]]'), "mirrored pairs of labels"),
        (
            SIDED.replace('lung"]', 'lung"]\nmirrored = [["left lung", "right lung"]]').replace(
                "batch = 8", 'batch = 8\naugmentation = ["quarter"]'
            ),
            "what is turned has none",
        ),
        (MINIMAL + "[evaluation]\nfolds = 1\n", "folds of 2 or more"),
        (MINIMAL + "[evaluation]\nfolds = 3\nfold = 3\n", "fold below folds"),
        (MINIMAL + '[evaluation]\nsubgroups = ["manufacturer"]\n', "manufacturers, in plain characters"),
        (MINIMAL + '[evaluation]\nmanufacturers = ["Alder"]\n', "manufacturers, in plain characters"),
        (MINIMAL + makers("Alder", "ALDER"), "manufacturers that differ"),
        (MINIMAL + makers("Other"), "manufacturers that differ"),
        (MINIMAL + '[evaluation]\nsubgroups = ["sex"]\nepsilon = 1.0\ndelta = 1e-5\n', "no subgroups with epsilon"),
    ],
)
def test_sides_folds_and_subgroups_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_study(text)


def test_labels_in_pairs_or_of_both_sides_may_be_mirrored() -> None:
    pair = ("left lung", "right lung")
    study = parse_study(labelled(*pair, "left and right pleura", mirrored=pair) + "[evaluation]\nviews = 2\n")
    assert study.evaluation.views == 2
    assert parse_study(labelled("upright", "leftover") + "[evaluation]\nviews = 8\n").evaluation.views == 8


def test_hash_ignores_comments_and_order_but_no_value() -> None:
    study = parse_study(MINIMAL)
    same = parse_study("# a comment\n" + MINIMAL.replace("rounds = 2\nbatch = 8", "batch = 8\nrounds = 2"))
    assert study_hash(study) == study_hash(same)
    assert study_hash(study) != study_hash(parse_study(MINIMAL.replace("batch = 8", "batch = 9")))


def test_hash_changes_with_the_rules_for_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hospitals whose Konsil makes different tensors of one file never train in one study."""
    study = parse_study(MINIMAL)
    before = study_hash(study)
    monkeypatch.setattr("shared.study.whole.CANONICAL", "canonical/v2")
    assert study_hash(study) != before


def test_study_survives_the_wire() -> None:
    study = parse_study(MINIMAL)
    assert unpack(type(study), pack(study)) == study


def test_spec_hash_names_every_parameter_of_the_tensor() -> None:
    spec = Input(modalities=("DX",), size=(32, 32))
    others = [
        Input(modalities=("CR",), size=(32, 32)),
        Input(modalities=("DX",), size=(32, 64)),
        Input(modalities=("DX",), size=(32, 32), color=True),
        Input(modalities=("DX",), size=(32, 32), window="percentile"),
        Input(modalities=("DX",), size=(32, 32), window=(40.0, 400.0)),
        Input(modalities=("DX",), size=(32, 32), spacing=(1.0, 1.0)),
        Input(modalities=("DX",), size=(32, 32), frames="middle"),
        Input(modalities=("DX",), size=(32, 32), intent="processing"),
        Input(modalities=("DX",), size=(32, 32), kind="stack", neighbours=1),
        Input(modalities=("DX",), size=(32, 32, 32), kind="volume"),
    ]
    assert len({spec_hash(s) for s in [spec, *others]}) == 11
