"""What the agent commands are: names, usage, help, parameters. All that is said of them anywhere comes from here.

The program tools.py makes its help from this table, functions.sh the shell's functions, the host the documentation for
prompts, the tools of a chat model, and what it must know of a text that follows a command. Standard library only, as it
is used inside the sandbox too; nothing slow to import, as that happens within a command of the agent.
"""


class Parameter:
    """A parameter of the command as a tool of a chat model. `kind`: string or integer, as in a JSON schema."""

    def __init__(self, name: str, about: str, *, kind: str = "string", required: bool = True) -> None:
        self.name = name
        self.about = about
        self.kind = kind
        self.required = required


class Command:
    """An agent command."""

    def __init__(
        self,
        name: str,
        usage: str,
        about: str,
        *parameters: Parameter,
        about_tool: str = "",
        takes_text: bool = False,
        needs: str = "",
    ) -> None:
        self.name = name
        self.usage = usage
        self.about = about
        self.parameters = parameters
        """In the order of the command line; a parameter called text comes as a here-document instead."""
        self.about_tool = about_tool or about
        """What it does, where a tool says it differently: its text is an argument."""
        self.takes_text = takes_text
        """Whether a text may follow it, up to one of ENDINGS."""
        self.needs = needs
        """The service that the agent's configuration has to name; empty for commands that are always there."""


ENDINGS = ("end_of_edit", "end_of_insert")
"""Lines that end a text. Blanks around them do not matter: agents indent them like the text, and mix them up."""

_FILE = "Path of the file; the open file when left out."
_FOLDER = "Where to search; the current folder when left out."
_NUMBER = Parameter("number", "How many to show at most; 5 when left out.", kind="integer", required=False)

# functions.sh finds the names on the lines that hold nothing but one: a single argument a line.
_ALL = (
    Command(
        "open",
        'open "<path>" [<line>]',
        "Opens a text file and shows a window of its lines, with line numbers. With a line number the window is moved"
        " to include that line, otherwise it starts at the top. Very long lines are cut. Directories, images and "
        "other binary files are refused.",
        Parameter("path", "Path of the file."),
        Parameter("line", "A line to show, counted from 1.", kind="integer", required=False),
    ),
    Command(
        "goto",
        "goto <line>",
        "Moves the window of the open file to include the line.",
        Parameter("line", "The line, counted from 1.", kind="integer"),
    ),
    Command(
        "scroll_up",
        "scroll_up",
        "Moves the window of the open file up by one window, less two lines of overlap.",
    ),
    Command(
        "scroll_down",
        "scroll_down",
        "Moves the window of the open file down by one window, less two lines of overlap.",
    ),
    Command(
        "create",
        "create <file>",
        "Creates an empty file and opens it. A file that exists is never overwritten: it is opened instead, and the "
        "command fails. The folder must exist. A text for the new file may follow, up to a line `end_of_edit`, or as "
        "a here-document.",
        Parameter("path", "Path of the new file."),
        Parameter("text", "Its content; empty when left out.", required=False),
        about_tool="Creates a file with a text, or an empty one, and opens it. A file that exists is never "
        "overwritten: it is opened instead, and the call fails. The folder must exist.",
        takes_text=True,
    ),
    Command(
        "edit",
        "edit <first>:<last> [<file>]\n<replacement text>\nend_of_edit",
        "Replaces the lines <first> to <last> (both included) of the file, or of the open file when none is named, by"
        " the text that follows, up to a line that holds only `end_of_edit` (a here-document does as well). The text "
        "is taken as it stands, indentation included. An edit after which a Python file no longer compiles is refused"
        " and changes nothing; names that are not defined are warned of, or refused as well. To delete lines, give no"
        " text, or the option --delete. The file becomes the open file, and the window around the edit is shown.",
        Parameter("first_line", "The first line to replace, counted from 1.", kind="integer"),
        Parameter("last_line", "The last line to replace.", kind="integer"),
        Parameter("path", _FILE, required=False),
        Parameter("text", "The new lines; empty to delete."),
        about_tool="Replaces lines of a file by a text, taken as it stands, indentation included. An edit after which"
        " a Python file no longer parses is refused and changes nothing. The file becomes the open file, "
        "and the window around the edit is shown.",
        takes_text=True,
    ),
    Command(
        "insert",
        "insert <line> [<file>]\n<text>\nend_of_edit",
        "Inserts the text that follows, up to a line that holds only `end_of_edit`, after the given line of the file,"
        " or of the open file when none is named. Line 0 inserts at the top. Checked as by edit.",
        Parameter("after_line", "The line after which to insert; 0 inserts at the top.", kind="integer"),
        Parameter("path", _FILE, required=False),
        Parameter("text", "The new lines."),
        about_tool="Inserts a text after a line of a file. Checked as by edit.",
        takes_text=True,
    ),
    Command(
        "search_dir",
        'search_dir "<term>" [<dir>]',
        "Searches a term, a regular expression as grep takes it (case counts), in all text files below the folder, "
        "the current one when none is named, and lists the files with their number of matching lines. Hidden folders "
        "are skipped.",
        Parameter("term", "What to search for; case counts."),
        Parameter("folder", _FOLDER, required=False),
    ),
    Command(
        "search_file",
        'search_file "<term>" [<file>]',
        "Searches a term, a regular expression as grep takes it (case counts), in the file, or in the open file when "
        "none is named, and shows the matching lines with their numbers.",
        Parameter("term", "What to search for; case counts."),
        Parameter("path", _FILE, required=False),
    ),
    Command(
        "find_file",
        'find_file "<name>" [<dir>]',
        "Finds all files with the given name below the folder, the current one when none is named. The name may hold "
        "the wildcards * ? [ ] (quote it then). Hidden folders are skipped.",
        Parameter("name", "A file name; may hold the wildcards * ? [ ]."),
        Parameter("folder", _FOLDER, required=False),
    ),
    Command(
        "validate",
        "validate",
        "Evaluates the current submission and prints its verdict and metrics. May be used as often as you like; the "
        "session goes on.",
    ),
    Command(
        "submit",
        "submit",
        "Submits the current submission, prints its verdict and ends the session.",
    ),
    Command(
        "memory_write",
        'memory_write "<text>"',
        "Keeps a note (or the text of a here-document) that you will find again in later sessions on this task. Other"
        " sessions on it can read it too.",
        Parameter("note", "The note, as it is to be read later."),
        about_tool="Keeps a note that you will find again in later sessions on this task. Other sessions on it can "
        "read it.",
        needs="memory",
    ),
    Command(
        "memory_read",
        'memory_read ["<query>"] [<n>]',
        "Shows the notes of this and earlier sessions on this task that match the query best (5 unless you say how "
        "many), or the newest ones when there is no query.",
        Parameter("query", "What the notes should be about; the newest are shown when it is left out.", required=False),
        _NUMBER,
        needs="memory",
    ),
    Command(
        "literature_search",
        'literature_search "<query>" [<n>]',
        "Searches for scientific papers and lists the best matches (5 unless you say how many) with their abstracts "
        "and ids. Works without a network in the shell.",
        Parameter("query", "What the papers should be about."),
        _NUMBER,
        needs="literature",
    ),
    Command(
        "literature_read",
        'literature_read "<id or url>" [<page>]',
        "Shows the text of a paper, one page of about ten thousand characters at a time. The paper is named by an id "
        "that literature_search shows, or by the address of a PDF.",
        Parameter("paper", "An id that literature_search showed, or the address of a PDF."),
        Parameter("page", "Which page of the text; the first when left out.", kind="integer", required=False),
        needs="literature",
    ),
)
COMMANDS = {command.name: command for command in _ALL}
