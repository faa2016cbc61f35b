"""`headrace prometheus`."""

import signal
import subprocess
import time
from importlib.resources import files

import httpx
import typer

from deploy.embedded import preflight
from deploy.embedded.commands import in_words
from deploy.embedded.errors import StackError
from deploy.embedded.service import LOCAL
from deploy.prometheus.package import program
from schemas.folders import private
from streams.settings import settings


@in_words()
def prometheus(port: int = typer.Option(19090, min=1, max=65535, help="Port on 127.0.0.1.")) -> None:
    """Run Prometheus over the workers of this machine, with the alert rules, until Ctrl-C.

    It scrapes the ports that workers take by themselves (6066 to 6071, see deploy/prometheus/prometheus.yml) and keeps 15 days in the data
    folder. Where Prometheus is not installed, Debian's package is fetched once (20 MB), without being root.
    """
    if not preflight.is_free("127.0.0.1", port):
        raise StackError(f"Port {port} is taken by {preflight.holder(port)}. Stop that, or choose another port with --port.")
    binary = program("prometheus")
    data = settings().data / "prometheus"
    private(data)
    configuration = files("deploy.prometheus") / "prometheus.yml"
    options = [f"--config.file={configuration}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
    server = subprocess.Popen([str(binary), *options, "--log.level=warn"])
    # Prometheus itself takes a terminal that is closed (SIGHUP) for a wish to read its configuration again
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: server.terminate())
    while server.poll() is None and not _ready(port):
        time.sleep(0.1)
    if server.poll() is None:
        typer.echo(f"Prometheus answers on http://127.0.0.1:{port}; its alerts are at /alerts, what it scrapes at /targets.")
    raise typer.Exit(abs(server.wait()))


def _ready(port: int) -> bool:
    try:
        return LOCAL.get(f"http://127.0.0.1:{port}/-/ready", timeout=2).is_success
    except httpx.HTTPError:
        return False
