"""`python -m deploy.reference.write`, `make reference`: writes the reference pages of the documents anew."""

from pathlib import Path
from typing import Final

from deploy.reference.commands import commands
from deploy.reference.pages import metrics, reasons, settings, topics

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference"


def pages() -> dict[str, str]:
    """Every page's file name and content."""
    return {
        "command.md": commands(),
        "dead-letters.md": reasons(),
        "metrics.md": metrics(),
        "settings.md": settings(),
        "topics.md": topics(),
    }


def main() -> None:
    """Write all of them."""
    for name, content in pages().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
