"""Keys in their order, however fast they come.

Over a slow line several keys arrive in one piece. Textual passes each on to what has the focus at
that moment, so letters typed after `p` would act as keys of the screen, before the prompt box has
the focus. Here a key waits until the one before it has done its work.
"""

from __future__ import annotations

from collections import deque

from textual import events
from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump

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
        self._under_way = False

    def must_wait(self, key: events.Key) -> bool:
        """Whether another key is under way; then this one is kept until that is done."""
        if self._under_way:
            self._waiting.append(key)
        return self._under_way

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
            await self._app.on_event(self._waiting.popleft())
