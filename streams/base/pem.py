"""Files of certificates and keys: whether one can be of PEM, said before OpenSSL does, which tells neither the file nor the reason."""

from pathlib import Path
from typing import Final

_BEGIN: Final = b"-----BEGIN "
_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def defect(file: str) -> str:
    """Why a file is none of PEM, in a sentence that names it; empty if it may be one."""
    try:
        raw = Path(file).read_bytes()
    except (OSError, ValueError) as error:
        return f"{file!r} cannot be read: {getattr(error, 'strerror', None) or error}"
    if raw.startswith(_MARKS) or b"\0" in raw:
        return f"{file!r} is binary or UTF-16, and no PEM file: save it as plain text, or convert it with openssl"
    if _BEGIN not in raw:
        return f"{file!r} is no PEM file: it has no line that begins with {_BEGIN.decode()!r}"
    if not raw.isascii():
        return f"{file!r} is no PEM file: it has bytes that are not ASCII"
    return ""
