from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.engine.models.load import load
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.chats import render_chat
from ftev.core.engine.scoring.completions import questions
from ftev.core.engine.scoring.preview import _histogram
from ftev.core.engine.scoring.rows import (
    EXAMPLES,
    TokenRows,
    _cut_inside,
    chat_rows,
    completion_rows,
    encode,
    prompt_ids,
    text_rows,
)
from ftev.core.errors import DataError

PLAIN = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
MARKED = (
    "{% for m in messages %}<{{ m['role'] }}>{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}</s>{% endgeneration %}{% else %}{{ m['content'] }}</s>"
    "{% endif %}{% endfor %}"
)
FORGETFUL = (
    "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}"
    "<{{ m['role'] }}>{{ m['content'] }}</s>{% endif %}{% endfor %}"
)
CHAT = [
    {"role": "user", "content": "is the tea warm"},
    {"role": "assistant", "content": "it is"},
    {"role": "user", "content": "good"},
    {"role": "assistant", "content": "a good day"},
]


@pytest.fixture
def loaded(causal_folder: Path) -> Loaded:
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    return load(config, str(causal_folder))


def pair_rows(loaded: Loaded, prompt: str, completion: str) -> TokenRows:
    frame = pl.DataFrame({"row_id": [0], "prompt": [prompt], "completion": [completion]})
    *_, rows = completion_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


@pytest.mark.parametrize("template", [PLAIN, MARKED])
def test_M2_every_assistant_turn_is_scored_with_its_end(loaded: Loaded, template: str) -> None:
    loaded.tokenizer.chat_template = template
    ids, scored = render_chat(CHAT, loaded.tokenizer)
    said = loaded.tokenizer.decode([i for i, s in zip(ids, scored, strict=True) if s])
    assert said == "it is</s>a good day</s>"


def test_M2_a_template_that_rewrites_earlier_turns_is_refused(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = FORGETFUL
    frame = pl.DataFrame({"row_id": [7], "messages": [CHAT]})
    with pytest.raises(DataError, match=r"row 7.*changes earlier turns"):
        list(chat_rows(frame, loaded))


def test_M2_a_tokenizer_without_a_template_is_refused(loaded: Loaded) -> None:
    frame = pl.DataFrame({"row_id": [0], "messages": [CHAT]})
    with pytest.raises(DataError, match="no chat template"):
        list(chat_rows(frame, loaded))


def test_M1_a_chat_whose_end_is_not_scored_is_counted(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = PLAIN.replace("</s>", ".")
    *_, rows = chat_rows(pl.DataFrame({"row_id": [0], "messages": [CHAT]}), loaded)
    assert isinstance(rows, TokenRows)
    assert rows.rows_without_eos == 1


def test_M3_the_prompt_is_rendered_alike_in_training_and_use(loaded: Loaded) -> None:
    rows = pair_rows(loaded, "is the tea warm", "it is")
    assert rows.scored is not None
    before = rows.ids[0][~rows.scored[0]].tolist()
    assert prompt_ids(loaded, "is the tea warm", "prompt_completion") == before


def test_M4_a_long_prompt_loses_its_beginning_and_not_the_completion(loaded: Loaded) -> None:
    rows = pair_rows(loaded, "tea " * 100, "it is warm")
    assert rows.scored is not None
    assert len(rows.ids[0]) == loaded.max_length
    assert loaded.tokenizer.decode(rows.ids[0][rows.scored[0]][:-1]) == "it is warm"
    assert rows.truncated_rows == 1
    whole = len(loaded.tokenizer("tea " * 100, add_special_tokens=False).input_ids)
    kept = int((~rows.scored[0]).sum()) - 1
    assert rows.truncated_tokens == whole - kept


def test_M4_a_completion_longer_than_the_model_is_cut_and_counted(loaded: Loaded) -> None:
    rows = pair_rows(loaded, "tea", "warm " * 100)
    assert rows.scored is not None
    assert rows.scored[0][1:].all()
    assert loaded.tokenizer.eos_token_id not in rows.ids[0].tolist()
    assert rows.truncated_rows == 1


def test_K1_every_window_of_a_document_begins_with_the_prefix(loaded: Loaded) -> None:
    text = "the kettle boils and the tea was ’good’ " * 30
    *_, rows = text_rows(pl.DataFrame({"row_id": [0], "text": [text]}), loaded)
    assert isinstance(rows, TokenRows)
    assert len(rows) > 3
    assert {int(ids[0]) for ids in rows.ids} == {loaded.tokenizer.bos_token_id}
    joined = [i for ids in rows.ids for i in ids[1:].tolist()]
    whole = loaded.tokenizer(text, add_special_tokens=False).input_ids
    assert joined == [*whole, loaded.tokenizer.eos_token_id]
    assert sum(rows.bytes) == len(text.encode())
    assert rows.row_ids == list(range(len(rows)))


def test_short_documents_keep_their_row_ids(loaded: Loaded) -> None:
    *_, rows = text_rows(pl.DataFrame({"row_id": [5, 9], "text": ["tea", "cup"]}), loaded)
    assert isinstance(rows, TokenRows)
    assert rows.row_ids == [5, 9]


SPACED = MARKED.replace("{% generation %}", "{%-  generation -%}")
LONG_CHAT = [
    {"role": "user", "content": "tea " * 80},
    {"role": "assistant", "content": "warm"},
]


def test_L2_an_assistant_who_speaks_first_does_not_score_the_first_token(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"
    ids, scored = render_chat([{"role": "assistant", "content": "tea"}], loaded.tokenizer)
    assert scored == [False] + [True] * (len(ids) - 1)


def test_M1_every_untruncated_row_scores_its_end(loaded: Loaded) -> None:
    """pad is EOS here: a mask by token id would lose it."""
    eos = loaded.tokenizer.eos_token_id
    assert loaded.tokenizer.pad_token_id == eos
    frame = pl.DataFrame(
        {"row_id": [0, 1], "prompt": ["tea </s>", "cup"], "completion": ["was bad", "a"]}
    )
    *_, pairs = completion_rows(frame, loaded)
    *_, texts = text_rows(pl.DataFrame({"row_id": [0], "text": ["tea"]}), loaded)
    for rows in (pairs, texts):
        assert isinstance(rows, TokenRows)
        assert rows.scored is not None
        assert rows.rows_without_eos == rows.truncated_rows == 0
        for ids, scored in zip(rows.ids, rows.scored, strict=True):
            assert ids[-1] == eos
            assert scored[-1]


@pytest.mark.parametrize("template", [PLAIN, MARKED, SPACED])
def test_M2_turns_of_the_user_are_never_scored(loaded: Loaded, template: str) -> None:
    loaded.tokenizer.chat_template = template
    *_, rows = chat_rows(pl.DataFrame({"row_id": [0], "messages": [CHAT]}), loaded)
    assert isinstance(rows, TokenRows)
    assert rows.scored is not None
    unsaid = loaded.tokenizer.decode(rows.ids[0][~rows.scored[0]])
    assert "is the tea warm" in unsaid
    assert "good</s>" in unsaid
    assert "it is" not in unsaid.replace("is the tea warm", "")
    assert rows.bytes == [len("it isa good day")]


def test_M3_a_chat_is_rendered_alike_in_training_and_use(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = PLAIN
    *_, rows = chat_rows(pl.DataFrame({"row_id": [0], "messages": [CHAT[:2]]}), loaded)
    assert isinstance(rows, TokenRows)
    assert rows.scored is not None
    before = rows.ids[0][~rows.scored[0]].tolist()
    assert prompt_ids(loaded, "is the tea warm", "messages") == before


def test_M3_prompt_and_completion_are_joined_as_tokens(loaded: Loaded) -> None:
    """Encoded together, the pair would be cut into other tokens at the join."""
    prompt, completion = "a cold da ", "y is"
    rows = pair_rows(loaded, prompt, completion)
    parts = loaded.tokenizer([prompt, completion], add_special_tokens=False).input_ids
    eos = loaded.tokenizer.eos_token_id
    assert rows.ids[0].tolist() == [loaded.prefix_id, *parts[0], *parts[1], eos]
    assert prompt_ids(loaded, prompt, "prompt_completion") == [loaded.prefix_id, *parts[0]]


@pytest.mark.parametrize(("completion", "spaced"), [("warm", False), (" warm", True)])
def test_M3_a_prompt_ends_as_it_did_before_the_completions(
    loaded: Loaded, completion: str, spaced: bool
) -> None:
    rows = pair_rows(loaded, "the tea is", completion)
    assert rows.scored is not None
    before = rows.ids[0][~rows.scored[0]].tolist()
    assert prompt_ids(loaded, "the tea is", "prompt_completion", spaced=spaced) == before


def test_M4_rows_and_tokens_cut_are_counted_over_a_split(loaded: Loaded) -> None:
    frame = pl.DataFrame(
        {
            "row_id": [3, 4, 5],
            "prompt": ["tea " * 100, "tea", "cup"],
            "completion": ["warm", "warm " * 100, "a"],
        }
    )
    *_, rows = completion_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    found = rows.describe("train", 2)
    whole = sum(
        len(ids) for c in ("prompt", "completion") for ids in encode(loaded, frame[c].to_list())
    )
    breaks = 2  # the line breaks between prompts that end without white space and completions
    assert found.truncated_rows == 2
    assert found.tokens + found.truncated_tokens == whole + breaks + 2 * len(rows)
    assert found.unscored_rows == 0


def test_M4_a_chat_that_loses_its_whole_completion_is_listed(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = PLAIN
    frame = pl.DataFrame({"row_id": [7, 8], "messages": [CHAT, LONG_CHAT]})
    *_, rows = chat_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    found = rows.describe("train", 1)
    assert (found.truncated_rows, found.unscored_rows) == (1, 1)
    assert found.examples["unscored_rows"] == [8]
    assert found.truncated_tokens > 0


def with_template(loaded: Loaded, end: str, template: str) -> Loaded:
    """The model with a template whose turns end with a token of that name."""
    if loaded.tokenizer.convert_tokens_to_ids(end) is None:
        loaded.tokenizer.add_special_tokens({"eos_token": end})
    loaded.tokenizer.eos_token = end
    loaded.tokenizer.chat_template = template
    return loaded


def chat_ml(end: str, after: str = "") -> str:
    """Turns with a header, an end token, and what a template puts behind it."""
    return (
        "{% for m in messages %}<{{ m['role'] }}>{{ '\\n' }}{{ m['content'] }}"
        + end
        + "{{ '"
        + after.replace("\n", "\\n")
        + "' }}{% endfor %}{% if add_generation_prompt %}<assistant>{{ '\\n' }}{% endif %}"
    )


def one_chat(loaded: Loaded, chat: list[dict[str, object]]) -> TokenRows:
    *_, rows = chat_rows(pl.DataFrame({"row_id": [0], "messages": [chat]}), loaded)
    assert isinstance(rows, TokenRows)
    return rows


def said_by(loaded: Loaded, rows: TokenRows) -> str:
    assert rows.scored is not None
    text: str = loaded.tokenizer.decode(rows.ids[0][rows.scored[0]])
    return text


@pytest.mark.parametrize("end", ["<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>"])
@pytest.mark.parametrize("after", ["", "\n", "\n\n", " \n \n", "\t\n  "])
def test_E1_white_space_after_the_end_token_changes_nothing(
    loaded: Loaded, end: str, after: str
) -> None:
    rows = one_chat(with_template(loaded, end, chat_ml(end, after)), CHAT)
    assert rows.rows_without_eos == 0
    assert said_by(loaded, rows) == f"it is{end}a good day{end}"
    assert rows.ids[0][rows.ends[0]] == loaded.tokenizer.eos_token_id
    assert rows.bytes == [len("it isa good day")]


@pytest.mark.parametrize("after", ["", "\n", "\n\n"])
def test_E1_an_end_that_generation_stops_at_is_an_end(loaded: Loaded, after: str) -> None:
    """Chat models often end a turn with another token than the tokenizer's EOS."""
    loaded.tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    loaded.tokenizer.chat_template = chat_ml("<end_of_turn>", after)
    assert one_chat(loaded, CHAT).rows_without_eos == 1
    turn = loaded.tokenizer.convert_tokens_to_ids("<end_of_turn>")
    loaded.model.generation_config.eos_token_id = [loaded.tokenizer.eos_token_id, turn]
    rows = one_chat(loaded, CHAT)
    assert rows.rows_without_eos == 0
    assert rows.ids[0][rows.ends[0]] == turn


def test_E1_an_end_token_inside_an_answer_is_not_its_end(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = chat_ml(".", "\n")
    chat = [CHAT[0], {"role": "assistant", "content": "it is</s> warm"}]
    rows = one_chat(loaded, chat)
    assert rows.rows_without_eos == 1
    assert rows.ends == [-1]


HEADLESS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"


@pytest.mark.parametrize("template", [PLAIN, HEADLESS, chat_ml("</s>")])
@pytest.mark.parametrize("first", [0, 1])
def test_E2_no_header_and_no_earlier_turn_is_scored(
    loaded: Loaded, template: str, first: int
) -> None:
    """Also of a turn that nothing comes before, and of a template that knows no prompt."""
    loaded.tokenizer.chat_template = template
    rows = one_chat(loaded, CHAT[first:2])
    assert said_by(loaded, rows) == "it is</s>"
    if first == 0:
        assert rows.scored is not None
        before = rows.ids[0][~rows.scored[0]].tolist()
        assert prompt_ids(loaded, "is the tea warm", "messages") == before


@pytest.mark.parametrize("template", [PLAIN, MARKED, chat_ml("</s>", "\n")])
def test_E2_turns_of_weight_0_are_context(loaded: Loaded, template: str) -> None:
    loaded.tokenizer.chat_template = template
    chat = [CHAT[0], {**CHAT[1], "weight": 0.0}, CHAT[2], {**CHAT[3], "weight": 1.0}]
    rows = one_chat(loaded, chat)
    assert said_by(loaded, rows) == "a good day</s>"
    assert rows.bytes == [len("a good day")]
    chat = [CHAT[0], {**CHAT[1], "weight": None}, CHAT[2], {**CHAT[3], "weight": 0.0}]
    rows = one_chat(loaded, chat)
    assert said_by(loaded, rows) == "it is</s>"
    assert rows.ids[0][rows.ends[0]] == loaded.tokenizer.eos_token_id
    [asked] = questions(pl.DataFrame({"row_id": [0], "messages": [chat]}), loaded, "messages")
    assert asked.reference == "it is"
    assert asked.prompt == "user: is the tea warm"


# As templates of reasoning models do: earlier reasoning is dropped, the last is written out.
THINKING = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<{{ m['role'] }}>{{ '\\n' }}"
    "{% if m['role'] == 'assistant' %}{% if loop.index0 > ns.last %}<think>"
    "{{ m.reasoning_content or '' }}</think>{{ '\\n' }}{% endif %}"
    "{{ m['content'].split('</think>')[-1] }}{% else %}{{ m['content'] }}{% endif %}"
    "</s>{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{{ '\\n' }}{% endif %}"
)


def test_E2_a_template_that_drops_earlier_reasoning_is_read(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template, loaded.max_length = THINKING, 128
    chat = [
        CHAT[0],
        {**CHAT[1], "reasoning_content": "warm"},
        CHAT[2],
        {**CHAT[3], "reasoning_content": "cold tea"},
    ]
    rows = one_chat(loaded, chat)
    assert said_by(loaded, rows) == "it is</s><think>cold tea</think>\na good day</s>"
    assert rows.bytes == [len("it is<think>cold tea</think>\na good day")]
    assert rows.rows_without_eos == 0


def test_E2_a_prompt_that_opens_reasoning_is_not_scored(loaded: Loaded) -> None:
    loaded.max_length = 128
    loaded.tokenizer.chat_template = THINKING.replace(
        "<assistant>{{ '\\n' }}{% endif %}", "<assistant>{{ '\\n' }}<think>{% endif %}"
    )
    chat = [CHAT[0], CHAT[1], CHAT[2], {**CHAT[3], "reasoning_content": "cold tea"}]
    rows = one_chat(loaded, chat)
    assert said_by(loaded, rows) == "it is</s>cold tea</think>\na good day</s>"


def test_E2_an_answer_without_the_reasoning_that_its_prompt_opens_is_refused(
    loaded: Loaded,
) -> None:
    loaded.tokenizer.chat_template = PLAIN.replace(
        "<assistant>{% endif %}", "<assistant><think>{% endif %}"
    )
    with pytest.raises(DataError, match="row 0: the template's prompt opens reasoning"):
        one_chat(loaded, CHAT[:2])


def test_E2_a_reference_with_reasoning_is_as_long_as_it_is_written(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template, loaded.max_length = THINKING, 128
    chat = [CHAT[0], {**CHAT[1], "reasoning_content": "warm tea"}]
    [asked] = questions(pl.DataFrame({"row_id": [0], "messages": [chat]}), loaded, "messages")
    assert asked.reference == "<think>warm tea</think>\nit is"
    assert asked.reference_tokens == len(encode(loaded, [asked.reference])[0])


def test_E2_a_truncated_row_counts_the_bytes_that_are_scored(loaded: Loaded) -> None:
    rows = pair_rows(loaded, "tea", "wärm " * 100)
    assert rows.scored is not None
    said = loaded.tokenizer.decode(rows.ids[0][rows.scored[0]])
    assert rows.bytes == [len(said.encode())]
    assert rows.ends == [-1]
    loaded.tokenizer.chat_template = PLAIN
    chat = [CHAT[0], {"role": "assistant", "content": "warm " * 100}]
    rows = one_chat(loaded, chat)
    assert rows.bytes == [len(said_by(loaded, rows).encode())]
    assert rows.ends == [-1]


def test_a_chat_that_the_template_refuses_is_named(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}" + PLAIN
    with pytest.raises(DataError, match="row 0: the chat template refuses it: roles must"):
        one_chat(loaded, CHAT)


def test_counts_name_their_first_rows_and_sum_up_what_is_scored() -> None:
    rows = TokenRows(scored=[])
    for i, scored in enumerate([[False, True, True], [False, False], [False, True, False, True]]):
        rows.ids.append(np.arange(len(scored), dtype=np.int32))
        rows.scored.append(np.array(scored))
        rows.row_ids.append(i)
    for row_id in range(50):
        rows.count("rows_without_eos", row_id)
    assert rows.rows_without_eos == 50
    assert rows.examples == {"rows_without_eos": list(range(EXAMPLES))}
    found = rows.describe("train", 4)
    assert (found.rows, found.columns, found.rows_without_eos) == (3, 4, 50)
    assert (found.tokens, found.scored_tokens, found.masked_tokens) == (9, 4, 5)
    assert found.unscored_rows == 1
    assert TokenRows(scored=[]).truncated_rows == 0


@pytest.mark.parametrize("special", [True, False])
def test_a_long_text_keeps_a_closing_token_and_no_other_last_one(
    loaded: Loaded, special: bool
) -> None:
    most, rows = loaded.max_length, TokenRows()
    end = loaded.tokenizer.all_special_ids[0] if special else 40
    ids = np.array([*([41] * (most + 2)), end], dtype=np.int32)
    found = _cut_inside(ids, loaded, rows, 7)
    assert found.tolist() == [41] * (most - 1) + [end if special else 41]
    assert (rows.truncated_rows, rows.truncated_tokens) == (1, 3)
    assert _cut_inside(ids[-most:], loaded, rows, 8).tolist() == ids[-most:].tolist()
    assert rows.truncated_rows == 1


def test_lengths_are_counted_in_at_most_twelve_bins_of_one_round_width() -> None:
    lengths = np.array([1, 2, 2, 5, 6, 11])
    assert _histogram(lengths) == [(i, i, int((lengths == i).sum())) for i in range(1, 12)]
    assert _histogram(np.array([12]))[-1] == (11, 12, 1)
    wide = _histogram(np.array([1, 20, 21, 100, 239]))
    assert wide[0] == (1, 20, 2)
    assert wide[1] == (21, 40, 1)
    assert wide[-1] == (221, 240, 1)
    assert sum(n for _, _, n in wide) == 5
