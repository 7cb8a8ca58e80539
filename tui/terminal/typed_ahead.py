"""Keys in their order, however fast they come.

Over a slow line several keys arrive in one piece. Textual passes each on to what has the focus at
that moment, so letters typed after `p` would act as keys of the screen, before the prompt box has
the focus. Here a key waits until the one before it has done its work, and until the screen has
read what the key is about.
"""

from __future__ import annotations

from collections import deque

from textual import events
from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump
from textual.widgets import Input

NEVER_WAIT = ("escape", "q", "ctrl+q", "ctrl+c", "question_mark", "f1")  # for what is read
LOST_SECONDS = 0.3  # a screen that its own key closed never says that it is done
SLOW = 10  # times as long for what is still there: the machine may be busy


class KeyDone(Message):
    """Posted behind a key, it bubbles up behind it: the key has done its work."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class TypedAhead:
    """The keys that wait, and the number of the one under way."""

    def __init__(self, app: App[int]) -> None:
        self._app = app
        self._waiting: deque[events.Key] = deque()
        self._number = 0
        self._under_way = self._goes_on = False

    def must_wait(self, key: events.Key) -> bool:
        """Whether another key is under way or the screen still reads; then this one is kept."""
        if key.key in NEVER_WAIT and not self._under_way and not self._goes_on:
            self._waiting.clear()  # typed for a screen that is left
        must_wait = self._under_way or self._reads_before(key)
        if must_wait:
            self._waiting.append(key)
        return must_wait

    def _reads_before(self, key: events.Key) -> bool:
        """Whether the screen still reads what this key is about; text is never held up."""
        if key.key in NEVER_WAIT or isinstance(self._app.focused, Input):
            return False
        reads = getattr(self._app.screen, "reads_before", None)
        return reads is not None and bool(reads(key.key))

    def go_on(self) -> None:
        """A screen has read what keys may wait for."""
        if self._waiting and not self._under_way:
            self._under_way = True  # later keys queue behind
            self._app.call_later(self._go)

    def follow(self, target: MessagePump) -> None:
        """A key was passed on to `target`."""
        self._number += 1
        number = self._number
        self._under_way = target.post_message(KeyDone(number))
        if self._under_way:
            self._look_after(number, target, SLOW)

    def _look_after(self, number: int, target: MessagePump, times: int) -> None:
        def look() -> None:
            if target.is_running and times > 1 and self._under_way and number == self._number:
                self._look_after(number, target, times - 1)
            else:
                self.let_next_go(number)

        self._app.set_timer(LOST_SECONDS, look)

    def let_next_go(self, number: int) -> None:
        """Key `number` is done, or was lost. The next goes behind what that one has set off."""
        if self._under_way and number == self._number:
            self._app.call_later(self._go)

    async def _go(self) -> None:
        self._under_way = False
        while self._waiting and not self._under_way:
            leaving = [i for i, key in enumerate(self._waiting) if key.key in NEVER_WAIT]
            if self._reads_before(self._waiting[0]):
                if not leaving:
                    return
                for _ in range(leaving[0]):
                    self._waiting.popleft()
            self._goes_on = True  # what waits behind this key was typed after it
            try:
                await self._app.on_event(self._waiting.popleft())
            finally:
                self._goes_on = False
