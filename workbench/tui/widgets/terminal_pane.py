"""The live shell: a terminal inside the app, and who types into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.message import Message

from workbench.tui.actions import BY_ID, LINES, SIDEWAYS, bindings_of, keyed
from workbench.tui.terminal.alt_keys import raw_alt
from workbench.tui.terminal.engine import BUTTON_LEFT, BUTTON_MIDDLE, BUTTON_RIGHT, WHEEL_DOWN, WHEEL_UP, MouseKind
from workbench.tui.widgets.line_view import COLUMNS_SIDEWAYS
from workbench.tui.widgets.terminal_view import TerminalView

_KINDS: dict[type[events.MouseEvent], MouseKind] = {
    events.MouseDown: "press",
    events.MouseUp: "release",
    events.MouseMove: "move",
}
_BUTTONS = {1: BUTTON_LEFT, 2: BUTTON_MIDDLE, 3: BUTTON_RIGHT}


class TerminalPane(TerminalView, can_focus=True, inherit_bindings=False):
    """A terminal with scrollback.

    While nobody has taken over, the terminal is 120 by 40 whatever the size of the pane, which shows the part with the
    cursor. In take-over (`interactive`) the terminal has the pane's size, and every key but ctrl+] goes to the child.

    Set `on_high` and `on_low` to hold back the shell's output while more than 256 KB wait to be drawn.
    """

    DEFAULT_CSS = """
    TerminalPane {
        overflow-x: auto;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 1;
        background: $background;
        color: $foreground;
    }
    TerminalPane.-taken-over {
        overflow-x: hidden;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings_of({**LINES, **SIDEWAYS})

    @dataclass
    class Input(Message):
        """Bytes for the child: typed, pasted, a mouse event, or the terminal's answer to a question of the child."""

        data: bytes

    class Release(Message):
        """ctrl+] was pressed in take-over. The app decides, and sets `interactive` to False."""

    @dataclass
    class Resized(Message):
        """The terminal has another size, which the pseudo-terminal should take as well."""

        pane: TerminalPane
        columns: int
        rows: int

    # ---------------------------------------------------------------- take-over

    def on_mount(self) -> None:
        self._show_state()

    def watch_interactive(self, interactive: bool) -> None:
        self.set_class(interactive, "-taken-over")
        self._follow = True
        if interactive:
            self.scroll_to(x=0, animate=False)
            self.focus()
        self._fit()
        self._show_state()

    def on_resize(self) -> None:
        self._all_dirty = True
        if self.interactive:
            self._fit()
        self._wake_painter()

    def _fit(self) -> None:
        """Give the terminal the size that it should have now, and say so when that is new."""
        wanted = self._wanted_size()
        laid_out = bool(self.content_region) or not self.interactive
        if wanted != self._size_wanted and laid_out:
            self._size_wanted = wanted
            if self._engine is not None:
                self._engine.resize(*wanted)
            self.post_message(self.Resized(self, *wanted))
        self._screen_strips.clear()
        self._all_dirty = True
        self._wake_painter()

    def _show_state(self) -> None:
        self.border_title = (
            keyed("Shell · TAKEN OVER · {session.release} gives it back") if self.interactive else "Shell"
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # In take-over no key of ours works: it is the child's.
        return not self.interactive

    def _send(self, data: bytes) -> None:
        if data:
            self._follow = True
            self.post_message(self.Input(data))

    def on_key(self, event: events.Key) -> None:
        if not self.interactive:
            return
        event.stop()
        event.prevent_default()
        if event.key in BY_ID["session.release"].keys_now:
            self.post_message(self.Release())
            return
        if raw := raw_alt(event):
            self._send(raw.encode("utf-8", "replace"))
            return
        self._ready_pump()
        if self._engine is not None:
            self._send(self._engine.encode_key(event.key, event.character))

    def on_paste(self, event: events.Paste) -> None:
        if self.interactive:
            event.stop()
            self._ready_pump()
            if self._engine is not None:
                self._send(self._engine.encode_paste(event.text))

    def _reply(self, data: bytes) -> None:
        if self.interactive:
            self.post_message(self.Input(data))

    # ---------------------------------------------------------------- mouse

    @property
    def _mouse_is_childs(self) -> bool:
        return self.interactive and self._engine is not None and self._engine.modes.mouse

    @property
    def allow_select(self) -> bool:
        return not self._mouse_is_childs

    def _send_mouse(self, event: events.MouseEvent, button: int, kind: MouseKind) -> None:
        offset = event.get_content_offset(self)
        if self._engine is None or offset is None:
            return
        y = offset.y + self.scroll_offset.y - self._ring_painted
        if not (0 <= y < self._engine.rows and 0 <= offset.x < self._engine.columns):
            return
        held = {"shift": event.shift, "meta": event.meta, "ctrl": event.ctrl}
        modifiers = frozenset(name for name, on in held.items() if on)
        data = self._engine.encode_mouse(offset.x, y, button, kind, modifiers)
        if data:
            self.post_message(self.Input(data))
        event.stop()

    @on(events.MouseDown)
    @on(events.MouseUp)
    @on(events.MouseMove)
    def _pointed(self, event: events.MouseEvent) -> None:
        if self._mouse_is_childs:
            self._send_mouse(event, _BUTTONS.get(event.button, BUTTON_LEFT), _KINDS[type(event)])

    @on(events.MouseScrollDown)
    @on(events.MouseScrollUp)
    def _wheeled(self, event: events.MouseEvent) -> None:
        event.stop()
        event.prevent_default()
        down = isinstance(event, events.MouseScrollDown)
        if self._mouse_is_childs:
            self._send_mouse(event, WHEEL_DOWN if down else WHEEL_UP, "press")
        else:
            self._move_view(3 if down else -3)

    # ---------------------------------------------------------------- scrollback

    def _move_view(self, rows: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, force=True)

    def action_move(self, rows: int) -> None:
        self._move_view(rows)

    def action_page(self, pages: float) -> None:
        self._move_view(round(pages * max(2, self.scrollable_content_region.height - 1)))

    def action_first(self) -> None:
        self.scroll_to(y=0, animate=False, force=True)

    def action_last(self) -> None:
        self._follow = True
        self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def action_sideways(self, steps: int) -> None:
        self.scroll_to(x=self.scroll_offset.x + steps * COLUMNS_SIDEWAYS, animate=False, force=True)
