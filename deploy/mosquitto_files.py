"""Files that Mosquitto reads: hashes of passwords, so for its group and for nobody else."""

import grp
import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import Final

MOSQUITTO: Final = "mosquitto"
"""The user, and its group, that Debian's package makes and whom Mosquitto becomes when root starts it."""


def write(file: Path, text: str, group: str = "") -> None:
    """Put a file in the place of the one that was there, whose owner, group and mode stay; the group of a new one is Mosquitto's.

    Whatever there was, `group` may read it if that is given. Nobody else can read it meanwhile, and Mosquitto finds the old one until the
    new one is whole. Raises OSError; KeyError for a group that is none.
    """
    reader = grp.getgrnam(group).gr_gid if group else None
    user = _user()
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_name(f".{file.name}")
    written.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(text)
        if file.exists():
            before = file.stat()
            _chown(written, before.st_uid, before.st_gid)
            written.chmod(before.st_mode & 0o777)
        elif user is not None and _chown(written, -1, user.pw_gid):
            written.chmod(0o640)
        if reader is not None:
            os.chown(written, -1, reader)
            written.chmod(written.stat().st_mode & 0o777 | 0o040)
        written.replace(file)
    finally:
        written.unlink(missing_ok=True)


def unreadable(file: Path) -> str:
    """What to do where this machine has a user mosquitto that cannot read the file; empty: nothing."""
    user = _user()
    if user is None:
        return ""
    about = file.stat()
    if about.st_uid == user.pw_uid:
        readable = about.st_mode & 0o400
    elif about.st_gid == user.pw_gid:
        readable = about.st_mode & 0o040
    else:
        readable = about.st_mode & 0o004
    return (
        ""
        if readable
        else f"the user {MOSQUITTO} cannot read {file}: as root, chgrp {MOSQUITTO} {file} && chmod g+r {file}; later runs keep that"
    )


def _user() -> pwd.struct_passwd | None:
    with suppress(KeyError):
        return pwd.getpwnam(MOSQUITTO)
    return None


def _chown(file: Path, owner: int, group: int) -> bool:
    """Whether it is theirs now: who is not root may only give a file to groups of its own."""
    try:
        os.chown(file, owner, group)
    except PermissionError:
        return False
    return True
