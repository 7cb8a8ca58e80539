"""The metrics of language models: of scored tokens, and of answers against references."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from ..answer_text import NORMALISER
from ..metric import BY_BYTE, BY_ROW, BY_TOKEN, Counted, FewRows, Function, Metric
from ..sums import EXP_LIMIT, Ratio, Totals

if TYPE_CHECKING:
    from ..sums import FloatArray

_ANSWERS = "rows with a reference"
_PAIRS = "pairs of a chosen and a rejected text"
_Rouge = partial(
    Metric,
    of=("answers",),
    unit="share",
    counted=Counted("sum of the rows' F-measures", _ANSWERS, BY_ROW),
    signature=lambda a: a.rouge_signature,
    sign_flip=True,
)


@Metric(
    of=("tokens",),
    title="perplexity",
    unit="perplexity",
    direction="lower",
    formula="exp(loss)",
    counted=Counted("sum of negative log-likelihoods (nats)", "scored tokens", BY_TOKEN),
    function=Function("loss", lambda loss: math.exp(min(loss, EXP_LIMIT))),
    then="exp",
    sign_flip=True,
    leading=True,
    chart=12,
    see=("loss", "bits_per_byte", "ln V", "average_log_likelihood"),
    aliases=("ppl",),
)
def perplexity(t: Totals) -> Ratio:
    """exp(loss): the number of equally likely tokens the model is, in effect, choosing among.

    5 means as unsure as between five even choices at each token; V, the size of the vocabulary, is
    random guessing and 1 is certainty. It says nothing that loss does not, on a scale that spreads:
    compare it with the base's on the same rows. Differences between large perplexities are mostly
    noise of a few hard tokens.

    Trap: Averaging perplexities of batches or rows gives a larger number than exp of the mean loss;
    and across tokenizers it cannot be compared at all.
    """
    return Ratio(t["nll"], t["scored"])


@Metric(
    of=("tokens",),
    title="next-token accuracy",
    heading="next-token accuracy",
    unit="share",
    formula="tokens ranked first ÷ scored tokens",
    counted=Counted("tokens ranked first", "scored tokens", BY_TOKEN),
    few_rows=FewRows(of_logarithm=False),
    sign_flip=True,
    leading=True,
    chart=2,
    see=("loss", "exact_match", "teacher forcing", "masking"),
    aliases=("token accuracy", "next token accuracy"),
)
def token_accuracy(t: Totals) -> Ratio:
    """The share of scored tokens that the model ranks first, given the true text before them.

    Counted where loss is counted: on completions and their end, prompts left out. Easy to grasp,
    and it moves with loss. Punctuation and word endings are easy, so 40 to 60 % is ordinary in
    plain prose; the base on the same rows shows how much of that is the tuning.

    Trap: The model is always handed the true text so far. Writing alone, one wrong token leads to
    another: a high value here does not promise good answers.
    """
    return Ratio(t["correct"], t["scored"])


@Metric(
    of=("tokens",),
    title="average log-likelihood per token",
    short="avg. log-lik.",
    heading="average log-likelihood per token",
    unit="nats",
    formula="sum of log-likelihoods ÷ scored tokens",
    counted=Counted("sum of log-likelihoods (nats)", "scored tokens", BY_TOKEN),
    function=Function("loss", lambda loss: -loss),
    limits=(-math.inf, 0),
    sign_flip=True,
    see=("loss", "bits_per_byte", "prefix token", "rolling windows"),
    aliases=("log likelihood", "mean log likelihood"),
)
def average_log_likelihood(t: Totals) -> Ratio:
    """The mean of the log-probability that a model gives to each scored token: loss with the other
    sign.

    In nats per token, always at or below 0; nearer to 0 is better. -ln V is random guessing. Use it
    to set models against each other on a held-out text: the difference is how much likelier the
    text is under one of them, per token.

    Trap: A total without its number of tokens favours short texts, and an average favours
    tokenizers that split text finely: use bits per byte between different tokenizers.
    """
    return Ratio(-t["nll"], t["scored"])


@Metric(
    of=("tokens",),
    title="bits per byte",
    heading="bits per byte",
    unit="bits",
    direction="lower",
    formula="sum of negative log-likelihoods ÷ (ln 2 × UTF-8 bytes of the raw text)",
    counted=Counted(
        "sum of negative log-likelihoods (nats)",
        "ln 2 × UTF-8 bytes of the raw text",
        BY_BYTE,
    ),
    few_rows=FewRows(of_logarithm=True),
    any_tokenizer=True,
    sign_flip=True,
    leading=True,
    chart=13,
    see=("loss", "perplexity", "vocabulary_mismatch", "average_log_likelihood"),
    aliases=("bpb",),
)
def bits_per_byte(t: Totals) -> Ratio:
    """How many bits the model needs for each byte of the raw text.

    The summed negative log-likelihood in bits over the UTF-8 bytes of the text. Bytes do not depend
    on a tokenizer, so this is the one figure that may be compared between models with different
    vocabularies. 8 is knowing nothing; English under a good model is well below 1. As a guide, 2.0
    nats per token at 4.2 bytes per token is 0.687. Lower is better; read it against the base.

    Trap: The likelihood is of the scored tokens. If a text was truncated at the window, or another
    share of it masked, the figures no longer speak of the same bytes: see rows truncated.
    """
    return Ratio(t["nll"], math.log(2) * t["bytes"])


@Metric(
    of=("pairs",),
    title="preference accuracy",
    short="preferred",
    heading="preference accuracy",
    unit="share",
    formula="pairs whose chosen text has the higher log-likelihood ÷ pairs",
    counted=Counted("pairs whose chosen text is likelier", _PAIRS, BY_ROW),
    right_or_wrong=True,
    adds=lambda p: (p.margin > 0).astype(float),
    leading=True,
    chart=2,
    see=("preference_accuracy_per_token", "preference_margin"),
)
def preference_accuracy(t: Totals) -> Ratio:
    """The share of pairs in which the model gives the chosen text a higher likelihood than the
    rejected one, each as the sum over its tokens and its end.

    50 % is what a coin gives. A base often lies near it: likelihood favours what is usual, and
    short texts. What counts is how many pairs tuning turned round, and how sure that is.

    Trap: A sum falls with every token, so where the chosen texts are the longer ones it lies below
    50 % whatever the model prefers. Read it beside the figure per token, which has no such slant.
    """
    return Ratio(t["preference_accuracy"], t["rows"])


@Metric(
    of=("pairs",),
    title="preference accuracy per token",
    short="pref. per token",
    heading="preference accuracy per token",
    unit="share",
    formula="pairs whose chosen text has the higher mean log-likelihood per token ÷ pairs",
    counted=Counted("pairs whose chosen text is likelier per token", _PAIRS, BY_ROW),
    right_or_wrong=True,
    adds=lambda p: (p.margin_per_token > 0).astype(float),
    see=("preference_accuracy", "preference_margin"),
)
def preference_accuracy_per_token(t: Totals) -> Ratio:
    """The share of pairs in which the chosen text has the higher mean log-likelihood per token.

    Length is taken out of it: a long text is not at a disadvantage. It is the reward of SimPO,
    where the sum is nearer to that of DPO.

    Trap: Easy tokens raise a mean: a text padded with stock phrases looks preferred.
    """
    return Ratio(t["preference_accuracy_per_token"], t["rows"])


@Metric(
    of=("pairs",),
    title="preference margin",
    short="margin",
    heading="preference margin",
    unit="nats",
    formula="sum of (log-likelihood of chosen - log-likelihood of rejected) ÷ pairs",
    counted=Counted("sum of margins (nats)", _PAIRS, BY_ROW),
    few_rows=FewRows(of_logarithm=False),
    limits=(-math.inf, math.inf),
    adds=lambda p: p.margin,
    sign_flip=True,
    see=("preference_accuracy", "preference_accuracy_per_token"),
)
def preference_margin(t: Totals) -> Ratio:
    """By how much, in nats per pair, the chosen text is likelier than the rejected one, on average.

    Tuned less base is what DPO calls the reward margin, without its factor beta. It shows how far
    tuning moved pairs that a share already counts as right.

    Trap: A few long pairs can carry it. Where the share stays and the margin soars, the model has
    become surer of what it preferred before, and often less likely to write the chosen text itself:
    look at the loss of the chosen texts too.
    """
    return Ratio(t["preference_margin"], t["rows"])


@Metric(
    of=("scores",),
    title="score",
    heading="score",
    unit="coefficient",
    formula="sum of the answers' scores ÷ answers",
    counted=Counted("sum of scores", "answers with a score", BY_ROW),
    limits=(-math.inf, math.inf),
    adds=lambda s: s.given,
    sign_flip=True,
    leading=True,
    chart=None,
    see=("exact_match", "paired"),
)
def score(t: Totals) -> Ratio:
    """The mean of the scores that somebody, or something, gave the answers.

    ftev does not know the scale: it takes higher for better, and says how sure a difference of the
    means is. Scores of 0 and 1 are shares of right answers.

    Trap: The interval covers the choice of the rows and not the judge: one that prefers long
    answers does so every time.
    """
    return Ratio(t["score"], t["rows"])


@Metric(
    of=("answers",),
    title="exact match",
    heading="exact match",
    unit="share",
    formula="answers equal to the reference ÷ rows",
    counted=Counted("answers equal to their reference", _ANSWERS, BY_ROW),
    right_or_wrong=True,
    adds=lambda a: a.exact,
    signature=lambda a: NORMALISER,
    leading=True,
    see=("normaliser", "bleu", "chrf", "greedy decoding", "ended by EOS"),
    aliases=("em",),
)
def exact_match(t: Totals) -> Ratio:
    """The share of generated answers that equal their reference after normalising.

    The normaliser is named beside it: Unicode form, case and white space are evened out, nothing
    else. The right metric where there is one right answer, such as a number, a label or a command.
    For free text it is near 0 for every model; there use chrF or read the answers. Compare with the
    base under the same prompt, length and stop rules.

    Trap: An answer that is right and says one word more counts as wrong. Before you blame the model
    look at how it ends: a missing end token fails every row.
    """
    return Ratio(t["exact_match"], t["rows"])


@Metric(
    of=("answers",),
    title="corpus BLEU",
    label="BLEU",
    heading="corpus BLEU",
    unit="points",
    formula="sacrebleu, corpus level",
    counted=Counted("", "", "the n-grams of all rows are counted together: long rows weigh more"),
    adds=lambda a: a.bleu[0],
    signature=lambda a: a.bleu[1],
    see=("chrf", "rougeL", "exact_match", "signature"),
    aliases=("sacrebleu",),
)
def bleu(t: Totals) -> FloatArray:
    """How many word sequences of one to four words the answers share with the references, 0 to 100.

    Matches are counted over the whole corpus, their precisions multiplied, and answers that are too
    short are fined. Made for translation, where 20 to 40 is usual. Its signature states
    tokenisation and smoothing: only equal signatures may be compared. Look at the paired difference
    against the base, and take a change below one point for nothing.

    Trap: It rewards wording and not sense: a correct paraphrase scores low, and a fluent answer
    with the wrong number scores high.
    """
    from ..references import bleu as of_counts

    return of_counts(t["bleu"])


@Metric(
    of=("answers",),
    title="corpus chrF",
    label="chrF",
    heading="corpus chrF",
    unit="points",
    formula="sacrebleu, corpus level",
    counted=Counted("", "", "the character n-grams of all rows are counted together"),
    adds=lambda a: a.chrf[0],
    signature=lambda a: a.chrf[1],
    see=("bleu", "rouge1", "exact_match", "signature"),
    aliases=("chrf2", "character f score"),
)
def chrf(t: Totals) -> FloatArray:
    """Agreement of answers and references in runs of one to six characters, 0 to 100.

    Recall weighs more than precision. Working in characters it forgives endings and needs no word
    splitting, so it is the safer of the two for inflected languages and short answers. Values lie
    higher than BLEU's: 50 to 60 is good for translation. Only differences on the same rows mean
    much.

    Trap: Text in the right language and topic shares letters by chance and often gets 15 points and
    more: zero is not the floor, the base's figure is.
    """
    from ..references import chrf as of_counts

    return of_counts(t["chrf"])


@_Rouge(
    title="ROUGE-1 F-measure",
    label="ROUGE-1",
    heading="ROUGE-1 F-measure",
    formula="mean over rows, words in common",
    adds=lambda a: a.rouge("rouge1"),
    see=("rouge2", "rougeL", "chrf", "normaliser"),
    aliases=("rouge", "rouge 1"),
)
def rouge1(t: Totals) -> Ratio | None:
    """The overlap in single words between answer and reference, averaged over rows.

    Word order plays no part. It comes from judging summaries, where 0.4 is decent. Whether words
    were stemmed is stated beside it. Read the difference against the base on the same rows; a good
    sign is that ROUGE-2 moves with it.

    Trap: A bag of the right words in any order gets full marks, and common words such as articles
    count like all others.
    """
    return Ratio(t["rouge1"], t["rows"]) if "rouge1" in t else None


@_Rouge(
    title="ROUGE-2 F-measure",
    label="ROUGE-2",
    heading="ROUGE-2 F-measure",
    formula="mean over rows, word pairs in common",
    adds=lambda a: a.rouge("rouge2"),
    see=("rouge1", "rougeL", "bleu"),
    aliases=("rouge 2",),
)
def rouge2(t: Totals) -> Ratio | None:
    """The overlap in pairs of neighbouring words between answer and reference, averaged over rows.

    Pairs carry some order, so it is stricter than ROUGE-1 and usually less than half of it. A rise
    here together with ROUGE-1 means that phrases and not just topics are shared. Answers of one
    word have no pairs and score 0.

    Trap: On short references a single pair more or less moves a row by tenths: the interval over
    rows is what counts, not the third decimal.
    """
    return Ratio(t["rouge2"], t["rows"]) if "rouge2" in t else None


@_Rouge(
    name="rougeL",
    title="ROUGE-L F-measure",
    label="ROUGE-L",
    heading="ROUGE-L F-measure",
    formula="mean over rows, longest common subsequence of words",
    adds=lambda a: a.rouge("rougeL"),
    see=("rouge1", "rouge2", "exact_match"),
    aliases=("rouge l", "longest common subsequence"),
)
def rouge_l(t: Totals) -> Ratio | None:
    """The longest run of words found in both texts in the same order, gaps allowed, averaged over
    rows.

    It asks whether the reference's line of thought is there, even if other words stand in between.
    Values fall between ROUGE-2 and ROUGE-1. Compare base and tuned at the same maximum length:
    longer answers find more of the subsequence and lose precision.

    Trap: It sees one thread only: an answer with two right halves in the other order gets credit
    for one of them.
    """
    return Ratio(t["rougeL"], t["rows"]) if "rougeL" in t else None
