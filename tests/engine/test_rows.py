from pathlib import Path

import polars as pl
import pytest
from ftev.core.config import ModelConfig, RunConfig
from ftev.core.engine.models import Loaded, load
from ftev.core.engine.rows import (
    TokenRows,
    chat_rows,
    completion_rows,
    encode,
    prompt_ids,
    render_chat,
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
    told = rows.describe("train", 2)
    whole = sum(
        len(ids) for c in ("prompt", "completion") for ids in encode(loaded, frame[c].to_list())
    )
    breaks = 2  # the line breaks between prompts that end without white space and completions
    assert told.truncated_rows == 2
    assert told.tokens + told.truncated_tokens == whole + breaks + 2 * len(rows)
    assert told.unscored_rows == 0


def test_M4_a_chat_that_loses_its_whole_completion_is_listed(loaded: Loaded) -> None:
    loaded.tokenizer.chat_template = PLAIN
    frame = pl.DataFrame({"row_id": [7, 8], "messages": [CHAT, LONG_CHAT]})
    *_, rows = chat_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    told = rows.describe("train", 1)
    assert (told.truncated_rows, told.unscored_rows) == (1, 1)
    assert told.examples["unscored_rows"] == [8]
    assert told.truncated_tokens > 0
