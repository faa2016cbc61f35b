"""Addresses in messages: people send each other logs and screens, so no password may be in one."""


def shown(url: str) -> str:
    """The address without all that stands before its last @, whether or not it is a good one."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url.rpartition("@")[2]
