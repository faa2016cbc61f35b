"""`headrace prometheus`."""

import os
from importlib.resources import files

import typer

from deploy.embedded.commands import in_words
from deploy.prometheus.package import program
from schemas.folders import private
from streams.settings import settings


@in_words()
def prometheus(port: int = typer.Option(19090, min=1, max=65535, help="Port on 127.0.0.1.")) -> None:
    """Run Prometheus over the workers of this machine, with the alert rules, until Ctrl-C.

    It scrapes the ports that workers take by themselves (6066 to 6071, see deploy/prometheus/prometheus.yml) and keeps 15 days in the data
    folder. Where Prometheus is not installed, Debian's package is fetched once (20 MB), without being root.
    """
    binary = program("prometheus")
    data = settings().data / "prometheus"
    private(data)
    typer.echo(f"Prometheus answers on http://127.0.0.1:{port}; its alerts are at /alerts, what it scrapes at /targets.")
    configuration = files("deploy.prometheus") / "prometheus.yml"
    options = [f"--config.file={configuration}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
    # In place of this process: Ctrl-C and a supervisor's signals are Prometheus' own.
    os.execv(binary, [str(binary), *options, "--log.level=warn"])
