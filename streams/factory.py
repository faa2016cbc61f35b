"""`faust -A streams.factory worker`: sensor readings in, windows, alerts and commands out."""

from agents.factory.domain import FACTORY
from schemas.catalog import WINDOWS
from streams import api, devices
from streams.assembly import App
from streams.rulebook import Rulebook
from streams.sensors import SensorTypes
from streams.watching import Watching
from tables.factory import TABLE

app = App("factory", web_port=6066)

factory = Watching(app, FACTORY, windows=WINDOWS, table=TABLE)
rulebook = Rulebook(app, factory)
sensors = SensorTypes(app, [FACTORY], rulebook.adopt)
api.mount(app, *devices.questions(factory))
