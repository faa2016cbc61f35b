"""`faust -A streams.desk worker`: where alerts stand, and what people do about them."""

from streams import alerts, api
from streams.assembly import App
from streams.handling import Handling

app = App("desk", web_port=6069)
app.producer_only = True  # follows its topics without a group: every desk has all alerts, so any of them answers

handling = Handling(app)
api.mount(app, *alerts.questions(handling))
