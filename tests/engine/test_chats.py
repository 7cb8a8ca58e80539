"""Templates that loop, grow, recurse or reach out are stopped in words; others are as before."""

from __future__ import annotations

from pathlib import Path

import pytest
from ftev.core.engine.scoring import templates
from ftev.core.engine.scoring.chats import render_messages
from ftev.core.errors import ModelError
from tiny_models import byte_level_tokenizer

CHAT = [{"role": "user", "content": "tea"}]
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GROW = (
    "{% set x = namespace(s='a' * 99) %}{% for i in range(40) %}{% set x.s = x.s * 2 %}{% endfor %}"
)
LATER = "{{% if messages | length > 1 %}}{}{{% endif %}}{{{{ messages[0].content }}}}"
RECURSE = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"
REACH = "{{ ''.__class__.__mro__[1].__subclasses__() }}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (LOOP, "one chat took longer than 0.3 s"),
        (GROW, "one chat took more than 512 MiB"),
        (RECURSE, "calls itself without an end"),
        (REACH, "reaches for what no template may"),
    ],
    ids=["loop", "grow", "recurse", "reach"],
)
def test_a_template_that_takes_too_much_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, expected: str
) -> None:
    tokenizer = byte_level_tokenizer(tmp_path, pad_is_eos=True)
    tokenizer.chat_template = template
    monkeypatch.setattr(templates, "RENDER_SECONDS", 0.3 if template == LOOP else 60.0)
    with pytest.raises(ModelError, match=expected):
        render_messages(CHAT, tokenizer)


@pytest.mark.parametrize(
    ("template", "seconds", "expected"),
    [(LOOP, 0.3, "took longer than"), (GROW, 60.0, "took more than 512 MiB")],
    ids=["loop", "grow"],
)
def test_a_template_that_takes_too_much_of_a_later_chat_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, seconds: float, expected: str
) -> None:
    tokenizer = byte_level_tokenizer(tmp_path, pad_is_eos=True)
    tokenizer.chat_template = LATER.format(template)
    assert tokenizer.decode(render_messages(CHAT, tokenizer)) == "tea"
    monkeypatch.setattr(templates, "RENDER_SECONDS", seconds)
    with pytest.raises(ModelError, match=expected):
        render_messages(CHAT * 2, tokenizer)
    assert tokenizer.decode(render_messages(CHAT, tokenizer)) == "tea"
