"""A series read slice by slice: the recurrent net learns which way slices brighten, which no slice alone shows."""

from pathlib import Path

from msgspec.structs import replace

from shared.study.model import Model
from simulations.faults import LocalLink
from simulations.local import LocalFederation
from tests.federation.test_volume_studies import KEY, NAMES, study_of, write_archive

SERIES = Model(name="recurrent", options={"blocks": 1, "width": 4, "state": 8, "reading": "last"})


def test_a_federation_learns_the_order_of_slices(tmp_path: Path) -> None:
    plain = study_of("volume")
    training = replace(plain.training, augmentation=(), local_steps=60)
    study = replace(plain, model=SERIES, training=training)
    for name in NAMES:
        write_archive(tmp_path / "archives" / name)
        keys = tmp_path / "sites" / name / "keys"
        keys.mkdir(parents=True)
        (keys / "archive.key").write_bytes(KEY)
    local = LocalFederation.make(tmp_path, {name: tmp_path / "archives" / name for name in NAMES}, study)
    _, result = local.run(LocalLink(local.sites()), study)
    assert (result.status, result.because, result.sites.contributed) == ("finished", "", (NAMES,))
    assert result.metrics is not None
    assert result.metrics.stratified_auc == 1.0
