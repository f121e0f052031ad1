"""The key ring of this installation: from the settings, or in development a file made on first start."""

import os
import tempfile
from pathlib import Path

from calendar_pipeline.errors import SetupError
from calendar_pipeline.secrets.keyring import KeyRing, generate
from calendar_pipeline.settings import Settings

FILE = "keys"


def load(settings: Settings) -> KeyRing:
    """The ring to use; raises SetupError in production if none is set, and anywhere if it cannot be read.

    In development a missing ring is made once and kept in ``STATE_DIR/keys`` (mode 0600).
    """
    if settings.calendar_pipeline_keys is not None:
        return KeyRing.parse(settings.calendar_pipeline_keys.get_secret_value())
    if settings.environment == "production":
        raise SetupError(
            "CALENDAR_PIPELINE_KEYS is not set. Production does not make its own key: "
            "run 'calendar-pipeline keys generate', keep the line in your secret store, and set it."
        )
    path = file(settings)
    try:
        if not path.exists():
            _create(path)
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise SetupError(
            f"The key file {path} cannot be read: give this process the right to, or set CALENDAR_PIPELINE_KEYS."
        ) from None
    return KeyRing.parse(text.strip())


def file(settings: Settings) -> Path:
    """Where the development key is kept."""
    return settings.state_dir / FILE


def _create(path: Path) -> None:
    """Write a new key without ever leaving half a file or overwriting another process's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    draft = Path(name)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(generate("dev1") + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first; its key counts
    finally:
        draft.unlink()
