"""What a worker replies, folded into the exchange that it belongs to."""

from __future__ import annotations

from ....core.run.control import (
    AnyReply,
    Completed,
    CrossScored,
    Held,
    Labelled,
    ScoredToken,
    TokenMade,
)
from .answers import LOADING, WAITING, Exchange

STOPPED = "stopped: what had come is kept"


def add_reply(exchange: Exchange, reply: AnyReply) -> None:
    """Fold one reply of the worker into the exchange."""
    if isinstance(reply, Held):
        exchange.message = f"training is held at step {reply.step:,} while the models answer"
        return
    if exchange.message in (WAITING, LOADING):
        exchange.message = ""
    if isinstance(reply, TokenMade):
        answer = exchange.answer(reply.model)
        answer.text += reply.text
        answer.scored.append(ScoredToken(reply.text, reply.log_likelihood, None))
    elif isinstance(reply, Labelled):
        answer = exchange.answer(reply.model)
        answer.name, answer.probabilities, answer.done = reply.name, reply.probabilities, True
    elif isinstance(reply, Completed):
        answer = exchange.answer(reply.model)
        answer.text, answer.tokens, answer.seconds = reply.text, reply.tokens, reply.seconds
        answer.done, answer.ended_by_eos = True, reply.ended_by_eos
        if reply.likelihoods:
            before = len(reply.likelihoods) - reply.tokens - reply.ended_by_eos
            answer.prompt_scored = reply.likelihoods[:before]
            answer.scored = reply.likelihoods[before:]
    elif isinstance(reply, CrossScored):
        exchange.answer(reply.model).cross = reply


def stop(exchange: Exchange) -> None:
    """Hang up; what had come stays."""
    exchange.hang_up.now()
    exchange.running = False
    exchange.message = STOPPED
    for answer in exchange.answers.values():
        answer.done = True
