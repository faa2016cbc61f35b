"""The devices as people see them: what is registered of each and what its traffic shows, in one row."""

from collections.abc import Iterable
from typing import Any

from agents.gateway.fleet import Fleet
from agents.gateway.presence import Presence
from agents.gateway.registration import Registration


def row(fleet: Fleet, each: Presence, now: int) -> dict[str, Any]:
    """One device; times in Unix milliseconds, null for never."""
    status, reason = fleet.shown(each, now)
    known = registration(each)
    return {
        **known.model_dump(),
        "protocol": each.source or known.protocol,
        "registered": each.registration is not None,
        "status": str(status),
        "reason": reason,
        "last_seen": max(each.last_seen, each.seen_at) or None,
        "gateway": fleet.node if each.here or each.seen_at else each.node,
    }


def registration(each: Presence) -> Registration:
    """As an operator registered it, or as its first message did."""
    if each.registration is not None:
        return each.registration
    # without a check: what gateways report of a device is no operator's to mend
    return Registration.model_construct(
        device_id=each.device,
        device_type=each.type or "unknown",
        tenant_id=each.tenant,
        protocol=each.source,
        registered_at=each.first_seen or each.seen_at,
    )


def select(fleet: Fleet, now: int, *, text: str = "", retired: bool = False, **wanted: str | None) -> Iterable[dict[str, Any]]:
    """Those of which each wanted field is equal, and some text field has `text` in it, by tenant and name; without the retired ones."""
    sought = text.casefold()
    for _, each in sorted(fleet.devices.items()):
        if each.barred is not None and each.registration is None:
            continue
        shown = row(fleet, each, now)
        if not retired and shown["retired"]:
            continue
        if any(value is not None and shown[name] != value for name, value in wanted.items()):
            continue
        if sought and sought not in "\n".join(map(str, shown.values())).casefold():
            continue
        yield shown
