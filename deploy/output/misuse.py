"""What a command says of words that do not go together."""

import typer


class Misused(typer.BadParameter):
    """Said in a sentence, without Typer's `Invalid value:` before it. Exit status 2."""

    def format_message(self) -> str:
        """The sentence alone."""
        return self.message
