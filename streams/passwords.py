"""Devices' passwords, hashed so that whoever reads the topic `credentials` has not got them."""

import secrets
from base64 import b64encode
from hashlib import pbkdf2_hmac
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's password storage cheat sheet: 19 MiB, 2 passes, 1 lane; 20 ms of a core. Argon2's own default takes three times as long, and ten
# thousand devices that come back at once are 200 s of a core as it is.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hashed(password: str) -> str:
    """What is kept of a password."""
    return _HASHER.hash(password)


def fits(secret: str, password: str) -> bool:
    """Whether a password is the one that was hashed; says no to what is no hash."""
    try:
        return _HASHER.verify(secret, password)
    except (VerificationError, InvalidHashError):
        return False


# Mosquitto verifies in the one thread that carries all messages: 20,000 rounds take it some 10 ms, where OWASP would have 210,000. That is
# for passwords that people make up; a token of 256 bits cannot be found by trying, so Mosquitto's own number does.
PASSWORD_ROUNDS: Final = 20_000
TOKEN_ROUNDS: Final = 101


def for_mosquitto(password: str, rounds: int) -> str:
    """A password as Mosquitto's password file takes it: `$7$`, PBKDF2 by SHA-512 (mosquitto_passwd(1))."""
    salt = secrets.token_bytes(12)
    found = pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return "$".join(("", "7", str(rounds), b64encode(salt).decode(), b64encode(found).decode()))
