"""Where the weights and examples that travel with the package lie: in a checkout beside it, in an
installed package inside it."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def bundled_folder(kind: str, name: str = "") -> Path:
    """Folder `weights` or `examples`, or one in it.

    Raises: FileNotFoundError that says where else to get it.
    """
    for root in (PACKAGE.parent / kind, PACKAGE / "_bundle" / kind):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(
        f"{kind}/{name} is neither beside nor inside the installed package ({str(PACKAGE)!r}); "
        "install the wheel that carries it, run from a checkout of the repository, or give "
        "--model a folder or Hub id"
    )


def weights_folder(name: str) -> Path:
    """Folder of a bundled pipeline, as load_pipeline takes it."""
    return bundled_folder("weights", name)


def example_file(name: str) -> Path:
    """Path of one of the example photos or masks."""
    return bundled_folder("examples", name)
