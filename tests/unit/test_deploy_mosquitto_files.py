"""Whom the files for Mosquitto are for: its group, whoever writes them, and nobody else."""

import grp
import os
import pwd
from types import SimpleNamespace

import pytest

from deploy.mosquitto_files import MOSQUITTO, unreadable, write

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
UID, GID = 54_321, 54_322


@pytest.fixture
def mosquitto(monkeypatch):
    """A machine with Debian's user."""
    known = {MOSQUITTO: SimpleNamespace(pw_uid=UID, pw_gid=GID)}
    monkeypatch.setattr(pwd, "getpwnam", lambda name: known[name])


@pytest.fixture
def nobody(monkeypatch):
    """A machine without."""
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)


def about(file):
    found = file.stat()
    return found.st_uid, found.st_gid, oct(found.st_mode & 0o777)


@AS_ROOT
def test_a_new_file_is_for_mosquittos_group_to_read(mosquitto, tmp_path):
    file = tmp_path / "new" / "passwords"
    write(file, "text")
    assert (about(file), unreadable(file)) == ((0, GID, "0o640"), "")


@AS_ROOT
@pytest.mark.parametrize(("owner", "group", "mode"), [(UID, GID, 0o400), (0, GID, 0o640), (UID, 7, 0o600), (0, 0, 0o644)])
def test_a_file_that_mosquitto_reads_is_read_after_each_run(mosquitto, tmp_path, owner, group, mode):
    file = tmp_path / "passwords"
    file.write_text("old")
    os.chown(file, owner, group)
    file.chmod(mode)
    for text in ("new", "newer"):
        write(file, text)
        assert (about(file), file.read_text(), unreadable(file)) == ((owner, group, oct(mode)), text, "")


@AS_ROOT
def test_a_file_that_mosquitto_cannot_read_is_told_with_what_to_do(mosquitto, tmp_path):
    file = tmp_path / "passwords"
    file.touch(0o600)
    write(file, "text")
    assert unreadable(file).startswith(f"the user mosquitto cannot read {file}: as root, chgrp mosquitto {file} && chmod g+r {file}")


@AS_ROOT
def test_another_group_may_be_named_for_new_files_and_old_ones(mosquitto, tmp_path):
    other = grp.getgrnam("daemon")
    for name in ("new", "old"):
        file = tmp_path / name
        if name == "old":
            file.touch(0o600)
        write(file, "text", other.gr_name)
        assert about(file)[1:] == (other.gr_gid, "0o640")


def test_where_there_is_no_mosquitto_the_file_is_its_writers_alone(nobody, tmp_path):
    file = tmp_path / "passwords"
    write(file, "text")
    assert (oct(file.stat().st_mode & 0o777), unreadable(file)) == ("0o600", "")


def test_what_was_there_stays_where_a_file_cannot_be_written(nobody, tmp_path):
    file = tmp_path / "passwords"
    file.write_text("old")
    with pytest.raises(KeyError):
        write(file, "new", "no-such-group")
    with pytest.raises(UnicodeEncodeError):
        write(file, "\udc00")
    assert (file.read_text(), [each.name for each in tmp_path.iterdir()]) == ("old", ["passwords"])
