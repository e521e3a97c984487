"""The registry's manifests, for a list: signatures checked, no file digested (shared/manifest.py)."""

from dataclasses import dataclass
from pathlib import Path

from server.home import ServerHome
from shared.errors import KonsilError
from shared.manifest import MANIFEST, SMALL, Manifest, open_manifest, read, same


@dataclass(frozen=True)
class Published:
    """A model of the registry: its manifest, or the problem that forbids using it."""

    folder: Path
    manifest: Manifest | None
    problem: str


def models(home: ServerHome) -> tuple[Published, ...]:
    """The registry, newest first: manifests and signatures checked, the files' digests not."""
    folders = [path for path in home.models.glob("*") if path.is_dir() and not path.name.startswith(".")]
    found = [_published(folder, home.federation.root_public) for folder in folders]
    return tuple(
        sorted(found, key=lambda one: (one.manifest.created if one.manifest else "", one.folder), reverse=True)
    )


def _published(folder: Path, root_public: bytes) -> Published:
    try:
        manifest = open_manifest(read(folder, MANIFEST, SMALL), read(folder, "roster.bin", SMALL), root_public)
        same(f"{MANIFEST}: run", folder.name, manifest.run)
    except (KonsilError, OSError) as error:
        return Published(folder, None, str(error))
    return Published(folder, manifest, "")
