"""Text from rules: templates whose slots are filled by a seeded random choice.

`{name}` is a slot, filled from the rule of that name; `{base name}` takes the verb that begins the
filling in its base form; `[this/that]` is a choice on the spot.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Rules = Mapping[str, Sequence[str]]

_SLOT = re.compile(r"\{(base )?(\w+)\}")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SENTENCE_START = re.compile(r"(^|[.!?] +|\.[\"”] +|\n)([\"“]?)([a-z])")
_A_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=(?:[aeio]|u(?!s[ei]|ni)|hour|honest)(?!ne\b))", re.I)

_RULE_NAME = re.compile(r"^(\w+):", re.M)

RUN_WORDS = 12
SHINGLE_WORDS = 4


def phrases(text: str) -> tuple[str, ...]:
    """Split `one | two | three`, over as many lines as it takes."""
    return tuple(" ".join(part.split()) for part in text.split("|") if part.strip())


def read_rules(text: str) -> dict[str, tuple[str, ...]]:
    """Rules as they are written down: `name:` at the start of a line, then its phrases."""
    parts = _RULE_NAME.split(text)
    return {name: phrases(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def read_words(name: str) -> str:
    """One of the files of words beside this one."""
    return (Path(__file__).parent / "words" / f"{name}.txt").read_text(encoding="utf-8")


def expand(template: str, rules: Rules, rng: random.Random) -> str:
    """Fill every slot of `template`, and the slots inside what filled them.

    No filling is used twice in one text while its rule has others left.
    """
    left: dict[str, list[str]] = {}

    def fill(slot: re.Match[str]) -> str:
        form, rule = slot.groups()
        if not left.get(rule):
            left[rule] = list(rules[rule])
        filling = left[rule].pop(rng.randrange(len(left[rule])))
        return base_form(filling) if form else filling

    while True:
        chosen = _CHOICE.sub(lambda match: rng.choice(match[1].split("/")), template)
        filled = _SLOT.sub(fill, chosen)
        if filled == template:
            return filled
        template = filled


def base_form(verb_phrase: str) -> str:
    """`leaks from the base` -> `leak from the base`."""
    verb, _, rest = verb_phrase.partition(" ")
    if verb.endswith("ies") and len(verb) > 4:
        verb = verb[:-3] + "y"
    elif verb.endswith(("sses", "zzes", "ches", "shes", "xes", "oes")):
        verb = verb[:-2]
    else:
        verb = verb[:-1]
    return f"{verb} {rest}".strip()


def tidy(text: str) -> str:
    """Single spaces, `an` before a vowel, a capital at the start of a sentence."""
    text = re.sub(r" +", " ", text).strip()
    text = re.sub(r" ?\n ?", "\n", text)
    text = re.sub(r" ([,.;:!?])", r"\1", text)
    text = _A_BEFORE_VOWEL.sub(r"\1n ", text)
    return _SENTENCE_START.sub(lambda match: match[1] + match[2] + match[3].upper(), text)


def words_of(text: str) -> list[str]:
    """The words of a text as a reader compares them: lower case, no punctuation."""
    return re.findall(r"[a-z0-9'’]+", text.lower())


class Unseen:
    """Takes a text only if no earlier one was the same or nearly the same.

    Nearly the same: a run of 12 words in common, or more than half of the runs of four words.
    """

    def __init__(self) -> None:
        self._texts: set[tuple[str, ...]] = set()
        self._runs: set[tuple[str, ...]] = set()
        self._shingles: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)

    def take(self, text: str) -> bool:
        """True, and the text is remembered, if it is new."""
        words = tuple(words_of(text))
        runs = set(_windows(words, RUN_WORDS))
        shingles = set(_windows(words, SHINGLE_WORDS))
        shared = Counter(row for shingle in shingles for row in self._shingles.get(shingle, ()))
        if words in self._texts or runs & self._runs:
            return False
        if max(shared.values(), default=0) * 2 > len(shingles):
            return False
        for shingle in shingles:
            self._shingles[shingle].append(len(self._texts))
        self._texts.add(words)
        self._runs |= runs
        return True

    def make(self, one: Callable[[], str]) -> str:
        """Call `one` until it gives a text that is new."""
        while not self.take(text := one()):
            pass
        return text


def _windows(words: tuple[str, ...], size: int) -> list[tuple[str, ...]]:
    return [words[start : start + size] for start in range(len(words) - size + 1)]


NAMES = {
    "she": ("Anna", "Maria", "Ruth", "Clara", "Nadia", "Helen", "Priya", "Sarah", "Emma", "Grace"),
    "he": ("Tom", "Daniel", "Peter", "Omar", "Jack", "Paul", "Ben", "Victor", "Sam", "Martin"),
}

PRONOUNS = {
    "she": {"he": ("she",), "his": ("her",), "him": ("her",)},
    "he": {"he": ("he",), "his": ("his",), "him": ("him",)},
}

PROSE = read_rules(read_words("prose")) | {"line": ("\n",)}
# Sentences that may open, carry on and close a paragraph, scene by scene.
SCENES = tuple(read_rules(scene) for scene in read_words("scenes").strip().split("\n\n"))

# Each rhyme: nouns of one syllable; verbs of one; verbs of two. They end the lines of LINES.
RHYMES = tuple(
    tuple(phrases(words) for words in rhyme.split(";"))
    for rhyme in read_words("rhymes").splitlines()
)
VERSE = read_rules(read_words("verse"))
LINES = tuple(read_rules(read_words("verse_lines")).values())  # that end in each of them
# Which rhyme ends each line of a stanza.
FORMS = ("abab", "abab", "aabb", "abba", "ababcc")
# How many lines end in a noun, in a verb of one syllable, in a verb of two.
ENDINGS = (0.55, 0.25, 0.20)


def write_paragraph(rng: random.Random) -> str:
    """Three to seven sentences of one scene, about one or two people."""
    scene = rng.choice(SCENES)
    middle = rng.sample(scene["middle"], rng.randint(1, min(5, len(scene["middle"]))))
    template = " ".join((rng.choice(scene["opening"]), *middle, rng.choice(scene["closing"])))
    he = rng.choice(tuple(NAMES))
    name = rng.choice(NAMES[he])
    friend = rng.choice([other for names in NAMES.values() for other in names if other != name])
    rules = {**PROSE, **PRONOUNS[he], "name": (name,), "friend": (friend,)}
    return tidy(expand(template, rules, rng))


def make_prose(count: int, seed: int) -> list[str]:
    """`count` texts of one paragraph or two."""
    rng = random.Random(f"prose {seed}")
    return [
        "\n".join(write_paragraph(rng) for _ in range(rng.choice((1, 1, 1, 2))))
        for _ in range(count)
    ]


def write_stanza(rng: random.Random) -> str:
    """Four or six lines, one a line of text."""
    form = rng.choice(FORMS)
    rhymes = dict(zip("abc", rng.sample(RHYMES, 3), strict=True))
    ends: dict[str, str] = {}
    lines = []
    for letter in form:
        kind = rng.choices(range(len(LINES)), ENDINGS)[0]
        if not set(rhymes[letter][kind]) - {ends.get(letter)}:
            kind = 0
        ends[letter] = rng.choice([w for w in rhymes[letter][kind] if w != ends.get(letter)])
        lines.append((LINES[kind], ends[letter]))
    return "\n".join(_write_lines(lines, rng))


def make_stanzas(count: int, seed: int, unseen: Unseen | None = None) -> list[str]:
    """`count` stanzas. Give the same `unseen` to two calls and neither repeats the other."""
    rng = random.Random(f"verse {seed}")
    unseen = unseen or Unseen()
    return [unseen.make(lambda: write_stanza(rng)) for _ in range(count)]


def make_splits(train: int, test: int, seed: int) -> tuple[list[str], list[str]]:
    """Training and evaluation stanzas that share no text."""
    unseen = Unseen()
    return make_stanzas(train, seed, unseen), make_stanzas(test, seed + 100_003, unseen)


def _write_lines(lines: list[tuple[tuple[str, ...], str]], rng: random.Random) -> list[str]:
    used: set[str] = set()
    written = []
    for patterns, end in lines:
        pattern = rng.choice([pattern for pattern in patterns if pattern not in used])
        used.add(pattern)
        written.append(tidy(expand(pattern, VERSE | {"end": (end,)}, rng)))
    written[-1] = written[-1].rstrip(",;") + ("" if written[-1][-1] in "?!." else ".")
    return written
