"""Which images are looked at: few, of many patients, the same whatever the order, and not to be foreseen."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from client.dicom.item import Location, Part
from client.dicom.quality.facts import Facts
from client.dicom.quality.sample import EACH, GROUP, MOST, Chosen, Sample

KEY = b"k" * 32
PART = Part(Location(Path("x.dcm")), (1, 2, 3))


def facts(patient: int, image: int, modality: str = "CT", *labels: str) -> Facts:
    name = patient.to_bytes(4, "big") + image.to_bytes(4, "big")
    return Facts(
        sop=name, series=b"s", patient=patient.to_bytes(4, "big"), modality=modality, labels=labels or ("clear",)
    )


def chosen(images: list[Facts], key: bytes = KEY) -> tuple[Chosen, ...]:
    sample = Sample(key)
    for one in images:
        sample.add(PART, one)
    return sample.chosen()


def test_a_small_archive_is_looked_at_whole() -> None:
    images = [facts(patient, image) for patient in range(7) for image in range(4)]
    assert {one.facts for one in chosen(images)} == set(images)


def test_of_one_patient_few_are_looked_at() -> None:
    assert len(chosen([facts(1, image) for image in range(500)])) == EACH


def test_every_patient_before_a_second_image_of_any() -> None:
    found = chosen([facts(patient, image) for patient in range(GROUP - 10) for image in range(9)])
    counted = Counter(one.facts.patient for one in found)
    assert len(found) == GROUP
    assert len(counted) == GROUP - 10
    assert max(counted.values()) == 2


def test_a_group_is_cut_and_a_rare_one_is_not_lost() -> None:
    images = [facts(patient, 0) for patient in range(3 * GROUP)]
    images += [facts(10_000 + patient, 0, "CT", "nodule") for patient in range(5)]
    images += [facts(20_000 + patient, 0, "MR", "nodule") for patient in range(GROUP + 1)]
    counted = Counter((one.facts.modality, *one.facts.labels) for one in chosen(images))
    assert counted == {("CT", "clear"): GROUP, ("CT", "nodule"): 5, ("MR", "nodule"): GROUP}


def test_many_groups_share_what_is_looked_at() -> None:
    images = [facts(patient, 0, "CT", f"label {patient % 50}") for patient in range(50 * 60)]
    found = chosen(images)
    assert len(found) == MOST
    assert set(Counter(one.facts.labels for one in found).values()) == {MOST // 50}


def test_more_groups_than_images_stay_within_the_bound() -> None:
    assert len(chosen([facts(patient, 0, "CT", f"label {patient}") for patient in range(MOST + 7)])) == MOST


def test_an_image_of_two_labels_is_looked_at_once() -> None:
    assert len(chosen([facts(1, 1, "CT", "edema", "mass")])) == 1


def test_images_without_a_label_are_a_group_too() -> None:
    image = Facts(sop=b"a", series=b"s", patient=b"p", modality="CT")
    assert [one.facts for one in chosen([image])] == [image]


def test_another_key_looks_at_others() -> None:
    images = [facts(patient, 0) for patient in range(3 * GROUP)]
    ours, others = ({one.facts.sop for one in chosen(images, key)} for key in (KEY, b"other" * 7))
    assert len(ours & others) < 0.6 * GROUP


@given(st.permutations(range(40)))
def test_the_order_of_the_archive_changes_nothing(order: list[int]) -> None:
    images = [facts(number % 9, number, "CT", f"label {number % 4}") for number in range(40)]
    assert chosen([images[number] for number in order]) == chosen(images)


def test_a_chosen_image_shows_no_path() -> None:
    assert "x.dcm" not in repr(chosen([facts(1, 1)]))
