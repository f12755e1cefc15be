"""What a terminal is shown: names of files and labels can hold characters that would retitle, clear or rewrite it."""

from __future__ import annotations

from typing import Any

# C0 and C1 control characters; separators of lines that no newline is; what turns the direction of writing
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_NAMES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS}
_TEXT = {code: escape for code, escape in _NAMES.items() if chr(code) not in "\n\t"}


def shown(name: object) -> str:
    """A file's name or a label as one line that does nothing to a terminal.

    Args:
        name: anything with a text.

    Returns:
        Its text with control characters escaped, as ``\\x1b``.
    """
    return str(name).translate(_NAMES)


def shown_text(text: str) -> str:
    """As `shown`, of a text of several lines: newlines and tabs stay as they are."""
    return text.translate(_TEXT)


class EscapingStream:
    """A stream through which control characters reach a terminal escaped, whoever prints them.

    Displays by rich, which have to move the cursor, write past it: rich looks for ``rich_proxied_file``.

    Args:
        stream: what is written to.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Writes a text, escaped; gives the length that it had before."""
        self.stream.write(shown_text(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
