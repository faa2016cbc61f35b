"""`faust -A streams.factory worker`: sensor readings in, windows and alerts out."""

from agents.factory.domain import FACTORY
from schemas.catalog import ALERTS, LATE, READINGS, WINDOWS
from streams.assembly import App
from streams.watching import Watching
from tables.factory import TABLE

app = App("factory", web_port=6066, reads=[READINGS], writes=[WINDOWS, ALERTS, LATE])

factory = Watching(app, FACTORY, source=READINGS, windows=WINDOWS, table=TABLE)
