"""Makes the text that follows `edit`, `insert` or `create` a here-document, so that bash does not run it.

An agent writes

    edit 3:5 strategy.py
    new text
    end_of_edit

To bash that is three commands. `rewrite_multiline` turns it into `edit 3:5 strategy.py <<'MLGYM_EDIT'`, the text and
the delimiter, wherever such a command stands in the action, and leaves everything else as it is: quoted strings,
comments and here-documents of the agent's own are recognised and never looked into.
"""

from __future__ import annotations

import re

import msgspec

from workbench.sandbox.guest.agent_commands import COMMANDS, ENDINGS

_MAY_MATTER = re.compile(r"\b(?:edit|insert|end_of_edit|end_of_insert)\b")
_BEFORE_COMMAND = frozenset(("if", "then", "else", "elif", "do", "while", "until", "{", "!", "time", "coproc"))
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(?:\[[^]]*\])?\+?=")
_REDIRECTION = re.compile(r"<<<|<<-|<<|<>|<&|<|&>>|&>|>>|>\||>&|>")
_PIECE = re.compile(r"""\\.?|'[^']*'?|\$'(?:\\.|[^\\'])*\\?'?|`(?:\\.|[^\\`])*\\?`?""", re.DOTALL)
"""A quoted piece of a word. Double quotes are not among them: a substitution within those is read on its own."""
_NEXT_EDIT = re.compile(r"\s*(?:edit|insert)\s+\d")
_DELIMITER = "MLGYM_EDIT"


class MalformedEdit(ValueError):
    """An action that cannot be meant as it stands. `str()` says what is wrong and how to write it."""


def rewrite_multiline(action: str, *, as_mlgym: bool = False) -> str:
    """The action with the texts of its edit, insert and create commands as quoted here-documents.

    Raises MalformedEdit when the end of a text is missing, or a line that ends a text stands alone; nothing of such an
    action should be run. An action without these commands comes back unchanged. An empty text of `edit` becomes its
    option --delete, because bash cannot pass on an empty here-document.

    `as_mlgym`: for actions that were recorded there, and mean what they meant there. `create` takes no text; edit and
    insert each have an end of their own, and are about the open file, whatever file is named.
    """
    if not _MAY_MATTER.search(action):
        return action
    return _Rewriter(action, as_mlgym).rewritten()


class _Command(msgspec.Struct):
    """A simple command, as far as it was read."""

    words: list[str] = msgspec.field(default_factory=list)
    name_end: int = 0
    end: int = 0
    """Offset behind the last word or redirection."""
    has_input: bool = False
    """Its standard input is redirected or comes from a pipe."""
    wants_target: bool = False
    """The next word belongs to a redirection."""


class _Pending(msgspec.Struct):
    """What begins on the next line: a here-document of a command, or the text of an edit (no delimiter)."""

    command: _Command
    delimiter: str | None = None
    strip_tabs: bool = False


class _Rewriter:
    """Reads bash as far as is needed to know what is a command and what is text."""

    def __init__(self, action: str, as_mlgym: bool) -> None:
        self.text = action
        self.as_mlgym = as_mlgym
        self.at = 0
        self.pending: list[_Pending] = []
        self.changes: list[tuple[int, int, str]] = []

    def rewritten(self) -> str:
        self._commands(closing="", detect=True)
        self._bodies()
        pieces = []
        position = 0
        for start, end, replacement in sorted(self.changes):
            pieces += [self.text[position:start], replacement]
            position = end
        return "".join([*pieces, self.text[position:]])

    # -- commands ------------------------------------------------------------------------------------------------------

    def _commands(self, closing: str, detect: bool) -> None:
        """Reads commands up to the closing bracket (which is read too) or the end."""
        command = _Command()
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t\r":
                self.at += 1
            elif char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif char in ";&|\n" and not self.text.startswith("&>", self.at):
                command = self._separator(command, detect)
            elif char in "<>&":
                self._redirection(command, detect)
            elif char == "(":
                self._bracket(command, detect)
            elif char == ")":
                self.at += 1
                if closing:
                    self._finish(command, detect)
                    return
                command = _Command()  # a pattern of `case`
            else:
                self._word(command)
        self._finish(command, detect)

    def _separator(self, command: _Command, detect: bool) -> _Command:
        """Reads what ends a command, and returns the next one."""
        self._finish(command, detect)
        char = self.text[self.at]
        self.at += 1
        if char == "\n":
            self._bodies()
            # a pipe at the end of a line goes on with the next one
            return _Command(has_input=command.has_input and not command.words)
        if char in "&|" and self.text.startswith(char, self.at):
            self.at += 1
            return _Command()
        if char == "|" and self.text.startswith("&", self.at):
            self.at += 1
        return _Command(has_input=char == "|")

    def _finish(self, command: _Command, detect: bool) -> None:
        if not detect or not command.words:
            return
        name = command.words[0]
        if name in ENDINGS:
            raise MalformedEdit(
                f"The line {name} ends no text: no edit, insert or create command that waits for a text stands before "
                "it. Nothing was run."
            )
        if name not in COMMANDS or not COMMANDS[name].takes_text or command.has_input or "--delete" in command.words:
            return
        if self.as_mlgym and name == "create":
            return
        if command.words[1:2] not in (["-h"], ["--help"]):
            self.pending.append(_Pending(command))

    def _bracket(self, command: _Command, detect: bool) -> None:
        """Reads `( … )` or `(( … ))` where a command or a function's brackets may stand."""
        if not command.words and self.text.startswith("((", self.at):
            self._arithmetic(2)
            return
        self.at += 1
        subshell = not command.words
        self._commands(")", detect and subshell)
        command.words = ["("]  # whatever it was, it is no edit

    def _redirection(self, command: _Command, detect: bool) -> None:
        start = self.at
        if self.text[start : start + 2] in ("<(", ">("):
            self.at += 2
            self._commands(")", detect)
            command.end = self.at
            return
        match = _REDIRECTION.match(self.text, start)
        assert match is not None
        operator = match.group()
        self.at = match.end()
        descriptor = ""
        if command.words and command.end == start and command.words[-1].isdigit():
            descriptor = command.words.pop()
        if operator.startswith("<") and descriptor in ("", "0"):
            command.has_input = True
        if operator in ("<<", "<<-"):
            self._skip_blanks()
            word = self._raw_word()
            command.end = self.at
            self.pending.append(_Pending(command, _unquoted(word), operator == "<<-"))
        else:
            command.wants_target = True

    def _word(self, command: _Command) -> None:
        word = self._raw_word()
        if word == "":  # only a line continuation
            return
        command.end = self.at
        if command.wants_target:
            command.wants_target = False
        elif command.words or not (word in _BEFORE_COMMAND or _ASSIGNMENT.match(word)):
            if not command.words:
                command.name_end = self.at
            command.words.append(word)
        elif self.text.startswith("(", self.at) and word.endswith("="):  # an array
            self.at += 1
            self._commands(")", detect=False)

    # -- words and quotes ----------------------------------------------------------------------------------------------

    def _skip_blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1

    def _raw_word(self) -> str:
        """Reads a word, quotes included, and returns it without line continuations."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in " \t\n;&|<>()":
            self._piece()
        return self.text[start : self.at].replace("\\\n", "")

    def _piece(self) -> None:
        """Reads one character, or one quoted or substituted piece, of a word."""
        if quoted := _PIECE.match(self.text, self.at):
            self.at = quoted.end()
        elif self.text.startswith(("$(", "${"), self.at):
            self._substitution()
        elif self.text[self.at] == '"':
            self.at += 1
            while self.at < len(self.text) and self.text[self.at] != '"':
                # A single quote is a character like any other here.
                if self.text[self.at] in "\\`" or self.text.startswith(("$(", "${"), self.at):
                    self._piece()
                else:
                    self.at += 1
            self.at += 1
        else:
            self.at += 1
        self.at = min(self.at, len(self.text))

    def _substitution(self) -> None:
        """Reads `$( … )`, `$(( … ))` or `${ … }`."""
        if self.text.startswith("$((", self.at):
            self._arithmetic(3)
        elif self.text.startswith("$(", self.at):
            self.at += 2
            self._commands(")", detect=True)
        else:
            self.at += 2
            while self.at < len(self.text) and self.text[self.at] != "}":
                self._piece()
            self.at += 1

    def _arithmetic(self, opening: int) -> None:
        self.at += opening
        depth = 2
        while self.at < len(self.text) and depth:
            depth += {"(": 1, ")": -1}.get(self.text[self.at], 0)
            self.at += 1

    # -- the lines below a command -------------------------------------------------------------------------------------

    def _bodies(self) -> None:
        """Reads the here-documents and texts that begin here, at the start of a line."""
        pending, self.pending = self.pending, []
        for item in pending:
            if item.delimiter is None:
                self._text(item.command)
            else:
                self._here_document(item)

    def _line(self, start: int) -> tuple[str, int]:
        """The line at an offset, and the offset of the next."""
        end = self.text.find("\n", start)
        return (self.text[start:], len(self.text)) if end < 0 else (self.text[start:end], end + 1)

    def _here_document(self, document: _Pending) -> None:
        start = self.at
        while self.at < len(self.text):
            line_start = self.at
            line, self.at = self._line(line_start)
            if (line.lstrip("\t") if document.strip_tabs else line) == document.delimiter:
                if line_start == start and document.command.words[:1] == ["edit"]:
                    self._mark_deletion(document.command)
                return

    def _mark_deletion(self, command: _Command) -> None:
        if "--delete" not in command.words:
            self.changes.append((command.name_end, command.name_end, " --delete"))

    def _text(self, command: _Command) -> None:
        name = command.words[0]
        endings = (f"end_of_{name}",) if self.as_mlgym else ENDINGS
        start = position = self.at
        while position < len(self.text):
            line_start = position
            line, position = self._line(line_start)
            if line.strip() in endings:
                break
            if name == "create" and _NEXT_EDIT.match(line):
                return
        else:
            if name == "create":
                return  # a new file may well be empty
            raise MalformedEdit(_missing_end(command))
        self.at = position
        if self.as_mlgym and len(command.words) > 2:
            self.changes.append((command.name_end, command.end, f" {command.words[1]}"))
        body = self.text[start:line_start]
        if not body and name == "edit":
            self._mark_deletion(command)
            self.changes.append((start, position, ""))
            return
        delimiter = _free_delimiter(body)
        self.changes.append((command.end, command.end, f" <<'{delimiter}'"))
        self.changes.append((line_start, line_start + len(line), delimiter))


def _missing_end(command: _Command) -> str:
    name = command.words[0]
    lines = f"{' '.join(command.words)}\n<text>\n{ENDINGS[0]}"
    return (
        f"The text of {name} has no end: it must end with a line that holds only {ENDINGS[0]}. Nothing was run. "
        f"Write:\n{lines}"
    )


def _free_delimiter(body: str) -> str:
    delimiter, number = _DELIMITER, 1
    while delimiter in body:
        number += 1
        delimiter = f"{_DELIMITER}_{number}"
    return delimiter


def _unquoted(word: str) -> str:
    """The delimiter that a here-document's word stands for."""
    return re.sub(r"\\(.)|['\"]", lambda match: match.group(1) or "", word.replace("$'", "'").replace('$"', '"'))
