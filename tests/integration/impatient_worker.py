"""The factory worker with Faust's own checks of who gets no further at a tenth of a second each, where Faust takes five minutes."""

from streams.factory import app

__all__ = ["app"]

app.conf.stream_processing_timeout = 0.1
app.conf.broker_commit_livelock_soft_timeout = 0.1
