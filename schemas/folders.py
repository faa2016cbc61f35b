"""Folders of what is nobody else's business: messages, passwords' hashes, logs."""

from pathlib import Path


def private(folder: Path) -> Path:
    """The folder. What of its path is missing is made for its owner alone (0700), whatever the umask; what is there is left as it is."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder
