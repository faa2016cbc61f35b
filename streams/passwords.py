"""Devices' passwords, hashed so that whoever reads the topic `credentials` has not got them."""

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
