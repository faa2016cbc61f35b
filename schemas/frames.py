"""Records under another registry's schema ids: the frame changes, the body does not."""

from collections.abc import Mapping, Sequence

from schemas.codec import FRAME_BYTES


def schema_ids(values: Sequence[bytes]) -> set[int]:
    """The schema ids that framed records name."""
    return {int.from_bytes(name) for name in {value[1:FRAME_BYTES] for value in values}}


def reframed(values: Sequence[bytes], ids: Mapping[int, int]) -> list[bytes]:
    """The same records with each schema id replaced by what `ids` has for it. Raises KeyError for one it does not have."""
    frames = {theirs.to_bytes(FRAME_BYTES - 1): ours.to_bytes(FRAME_BYTES) for theirs, ours in ids.items()}
    return [frames[value[1:FRAME_BYTES]] + value[FRAME_BYTES:] for value in values]
