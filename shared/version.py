"""Which Konsil this is."""

from importlib.metadata import version

SOFTWARE = version("konsil")


def versions() -> dict[str, str]:
    """Konsil and the libraries that a result depends on."""
    names = ("konsil", "flwr", "torch", "monai", "opacus", "pydicom", "cryptography", "numpy")
    return {name: version(name) for name in names}
