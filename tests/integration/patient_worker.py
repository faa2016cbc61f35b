"""The factory worker with a session of a minute: as long as a busy machine may take to start it again."""

from streams.factory import app

__all__ = ["app"]

app.conf.broker_session_timeout = 60
