"""Which addresses only this machine reaches."""

from ipaddress import ip_address


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
