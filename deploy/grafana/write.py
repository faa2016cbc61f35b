"""`python -m deploy.grafana.write`, `make dashboards`: writes the dashboards that Grafana is provisioned with."""

from pathlib import Path
from typing import Final

from deploy.grafana.build import to_json
from deploy.grafana.city import CITY
from deploy.grafana.factory import FACTORY
from deploy.grafana.ledger import LEDGER
from deploy.grafana.transport import TRANSPORT
from deploy.grafana.warehouse import WAREHOUSE

BOARDS: Final = (FACTORY, CITY, TRANSPORT, WAREHOUSE, LEDGER)
FOLDER: Final = Path(__file__).with_name("dashboards")


def files() -> dict[str, str]:
    """Every dashboard's file name and content."""
    return {f"{board.uid}.json": to_json(board) for board in BOARDS}


def main() -> None:
    """Write all of them; files of dashboards that are no more are removed."""
    wanted = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
