"""What settings, metrics, topics and reasons of dead letters are, as pages."""

import ast
import inspect
from itertools import pairwise

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from deploy.reference.markdown import code, escaped, page, paragraph, table
from deploy.reference.schemas import sections
from schemas.catalog import CONTRACTS, DAY_HOURS, Contract
from schemas.rejects import Reason
from streams.base.variables import PREFIX
from streams.metrics import CATALOGUE
from streams.settings import Settings


def settings() -> str:
    """Every environment variable, with its default."""
    rows = [
        (code(f"{PREFIX}{name.upper()}"), code(_default(field)), escaped(field.description or ""))
        for name, field in Settings.model_fields.items()
    ]
    return page(
        "Settings",
        "streams/settings.py",
        "Headrace reads its settings from environment variables when a process starts. The defaults fit the local stack. "
        "A wrong value, and a variable of this prefix that does not exist, ends the process with a sentence that says what to change.",
        [table(("variable", "default", "meaning"), rows)],
    )


def _default(field: FieldInfo) -> str:
    value = field.default
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def metrics() -> str:
    """Every metric, with its meaning and its symptom."""
    parts = [
        "\n\n".join(
            [
                f"## `{metric.name}`",
                f"A {metric.kind}{' by ' + ', '.join(map(code, metric.labels)) if metric.labels else ''}.",
                paragraph(metric.meaning),
                paragraph(f"What it is a symptom of: {metric.symptom}"),
            ]
        )
        for metric in sorted(CATALOGUE)
    ]
    return page("Metrics", "streams/metrics.py", "Each worker shows the metrics of its parts at /metrics.", parts)


def topics() -> str:
    """Every topic of the catalogue, and the fields of its records."""
    rows = [
        (
            code(row.topic),
            code(row.key or ""),
            str(row.partitions),
            _retention(row),
            code(f"{row.schema or row.topic}.avsc"),
            code(row.sink),
            "yes" if row.central else "",
            "<br>".join(map(code, row.changelogs)),
        )
        for row in sorted(CONTRACTS.values(), key=lambda row: row.topic)
    ]
    return page(
        "Topics",
        "schemas/catalog.py",
        "headrace topics makes these topics in Kafka. The schemas are in schemas/avro/. A topic of a tenant other than default has "
        "the tenant's name and a dot before its name. An empty key is that of the source record. Below are the fields of each schema.",
        [
            table(("topic", "key", "partitions", "kept", "schema", "ClickHouse table", "goes to the centre", "changelogs"), rows),
            *sections(),
        ],
    )


def _retention(contract: Contract) -> str:
    if contract.compacted:
        return "latest of each key"
    return f"{contract.retention_hours // DAY_HOURS:,} days"


def reasons() -> str:
    """Every reason of a dead letter, and what to look at."""
    tree = ast.parse(inspect.getsource(Reason))
    body = next(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    notes = {
        first.targets[0].id: str(second.value.value)
        for first, second in pairwise(body)
        if isinstance(first, ast.Assign)
        and isinstance(first.targets[0], ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
    }
    return page(
        "Dead letters",
        "schemas/rejects.py",
        "A record that cannot be used becomes a record of the topic dead-letters, with one of these reasons.",
        [table(("reason", "what it means and what to look at"), [(code(reason), escaped(notes[reason.name])) for reason in Reason])],
    )
