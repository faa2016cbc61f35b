"""The one error of the local stack: its text is for the person at the terminal."""


class StackError(Exception):
    """The stack cannot start or stop; the message says what is wrong, then what to do."""
