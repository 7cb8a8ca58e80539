import math

import numpy as np
import polars as pl
import pytest
from data_files import TEN, faults, write_csv
from ftev.core.analysis.slices import LEAST_ROWS, MOST_VALUES, slices
from ftev.core.config.config import DataConfig
from ftev.core.data.data import read_dataset
from ftev.core.metrics.evaluate import evaluate_text
from ftev.core.metrics.slices import EXACT_ROWS, Grouping, Moments, newcombe, quartiles, shares_p
from ftev.core.metrics.statistics import holm, mcnemar, wilson
from ftev.core.report.blocks import Paragraph, Table
from ftev.core.report.sections.rows import name_slice, show_slices, worse_slices
from scipy import stats
from scored_splits import LABELS, evaluation, predictions
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest


def source_of(frame, **columns):
    """Texts of 1 to 100 characters, and columns to slice by."""
    return frame.select("row_id").with_columns(
        text=pl.Series(["x" * (1 + 37 * i % 100) for i in range(frame.height)]),
        **{f"slice:{name}": pl.Series(values) for name, values in columns.items()},
    )


def generated(n=200, seed=0, hard=()):
    rng = np.random.default_rng(seed)
    tokens = np.random.default_rng(98).integers(5, 50, n)
    nll = tokens * rng.gamma(9, 0.3, n)
    nll[list(hard)] += 2 * tokens[list(hard)]
    return pl.DataFrame(
        {
            "row_id": np.arange(n),
            "nll": nll,
            "tokens": tokens,
            "correct": tokens // 3,
            "bytes": tokens * 4,
        }
    )


def result(**given):
    [found] = slices(evaluation(**given))
    return found.result


def named(found):
    return {name_slice(s): s for s in found.slices}


def weak_on(frame, rows):
    """The same predictions, wrong on these rows."""
    other = (
        pl.when(pl.col("label") == LABELS[0]).then(pl.lit(LABELS[1])).otherwise(pl.lit(LABELS[0]))
    )
    return frame.with_columns(
        predicted=pl.when(pl.col("row_id").is_in(list(rows))).then(other).otherwise("predicted")
    )


def test_S1_difference_of_two_shares_equals_statsmodels():
    for a, n, b, m in ((7, 10, 80, 90), (0, 12, 5, 40), (30, 30, 60, 200)):
        expected = confint_proportions_2indep(a, n, b, m, method="newcomb")
        assert newcombe(a, n, b, m) == pytest.approx(expected, abs=1e-9)


def test_S4_p_of_two_shares_is_fishers_and_its_limit():
    assert shares_p(7, 10, 80, 90) == pytest.approx(stats.fisher_exact([[7, 3], [80, 10]])[1])
    a, n, b, m = 400, 1000, 5000, EXACT_ROWS
    assert shares_p(a, n, b, m) == pytest.approx(proportions_ztest([a, b], [n, m])[1])
    assert shares_p(n, n, m, m) == 1.0


def test_quartiles_split_evenly_and_name_their_ends():
    g = quartiles(np.arange(1, 101), "characters")
    assert g.names == ["1 to 25", "26 to 50", "51 to 75", "76 to 100"]
    assert g.count().tolist() == [25, 25, 25, 25]
    tied = quartiles(np.array([1] * 80 + [2] * 10 + [900, 1200] * 5), "characters")
    assert tied.names == ["1", "2 to 1,200"]
    assert quartiles(np.full(9, 3), "characters") is None
    some = quartiles(np.array([1.5, math.nan, 2.5, 3.5, 4.5]), "column")
    assert some.codes[1] == -1
    assert some.count().sum() == 4


def test_ratio_of_a_slice_has_the_error_of_the_bootstrap():
    frame = generated(400)
    nll, tokens = frame["nll"].to_numpy(), frame["tokens"].to_numpy().astype(float)
    g = Grouping("column", np.arange(400) % 2, ["even", "odd"])
    found = Moments.of(g, nll, tokens)
    for code in (0, 1):
        half = frame.filter(pl.col("row_id") % 2 == code)
        loss = evaluate_text(half).metrics["loss"]
        assert found.ratio[code] == pytest.approx(loss.value)
        assert 2 * 1.96 * found.error[code] == pytest.approx(loss.high - loss.low, rel=0.05)
    rest = found.rest(g, nll, tokens)
    assert rest.ratio[0] == pytest.approx(found.ratio[1])
    assert rest.error[0] == pytest.approx(found.error[1])


def test_slices_are_by_label_length_and_column():
    frame = predictions(400)
    origin = ["web", "mail"] * 200
    found = result(tuned=frame, source=source_of(frame, origin=origin), slices=("origin",))
    by = named(found)
    assert {s.by for s in found.slices} == {"label", "characters", "column"}
    web = frame.filter(pl.Series(origin) == "web")
    right = int((web["label"] == web["predicted"]).sum())
    accuracy = by['origin "web"'].accuracy
    assert accuracy.value == right / 200
    assert (accuracy.low, accuracy.high) == wilson(right, 200)
    spam = frame.filter(pl.col("label") == "spam")
    hit = int((spam["predicted"] == "spam").sum())
    assert by['label "spam"'].accuracy.value == hit / spam.height  # the label's recall
    assert by["1 to 25 characters"].rows == 100


def test_each_slice_is_set_against_the_rest():
    frame = predictions(400)
    found = named(result(tuned=frame, source=source_of(frame)))["26 to 50 characters"]
    inside = np.array([26 <= 1 + 37 * i % 100 <= 50 for i in range(400)])
    right = (frame["label"] == frame["predicted"]).to_numpy()
    a, n, b, m = right[inside].sum(), inside.sum(), right[~inside].sum(), (~inside).sum()
    assert found.rest.difference == pytest.approx(a / n - b / m)
    assert (found.rest.low, found.rest.high) == pytest.approx(newcombe(a, n, b, m))
    assert found.rest.p == pytest.approx(stats.fisher_exact([[a, n - a], [b, m - b]])[1])


def test_S6_p_is_corrected_for_all_slices_that_are_judged():
    frame = predictions(400)
    judged = result(tuned=frame, source=source_of(frame)).slices
    expected = holm({str(i): s.rest.p for i, s in enumerate(judged)})
    assert [s.rest.p_corrected for s in judged] == list(expected.values())


def test_S6_a_model_without_weakness_is_seldom_said_to_have_one():
    """40 values without meaning: looking at many must not find one (5 % of the time at most)."""
    alarms = 0
    for seed in range(40):
        frame = predictions(600, seed=seed)
        chance = np.random.default_rng(seed).integers(0, 15, 600).astype(str).tolist()
        found = result(tuned=frame, source=source_of(frame, chance=chance), slices=("chance",))
        alarms += bool([s for s, _ in worse_slices(found) if s.by == "column"])
    assert alarms <= 5


def test_the_worst_slice_stands_first():
    frame = predictions(400, skill=4)
    origin = ["mail" if i < 60 else "web" if i < 200 else "app" for i in range(400)]
    weak = weak_on(frame, range(0, 60, 2))
    found = result(tuned=weak, source=source_of(weak, origin=origin), slices=("origin",))
    assert name_slice(found.slices[0]) == 'origin "mail"'
    assert found.slices[0].rest.p_corrected < 0.001
    assert name_slice(worse_slices(found)[0][0]) == 'origin "mail"'


def test_S4_the_reference_stands_beside_with_fixed_and_broke():
    base, tuned = predictions(300, seed=1), predictions(300)
    tuned = base.with_columns(predicted=tuned["predicted"])
    found = result(tuned=tuned, base=base)
    assert found.reference == "base"
    spam = named(found)['label "spam"']
    before, after = (
        f.filter(pl.col("label") == "spam").select(right=pl.col("predicted") == "spam")["right"]
        for f in (base, tuned)
    )
    fixed, broke = int((~before & after).sum()), int((before & ~after).sum())
    reference = spam.reference
    assert (reference.fixed, reference.broke) == (fixed, broke)
    assert reference.value == before.mean()
    assert reference.p == mcnemar(broke, fixed).exact


def test_slices_of_few_rows_are_not_judged_and_stand_last():
    frame = predictions(200)
    rare = ["rare" if i < LEAST_ROWS - 1 else "a" if i < 100 else "b" for i in range(200)]
    found = result(tuned=frame, source=source_of(frame, kind=rare), slices=("kind",))
    last = found.slices[-1]
    assert (last.value, last.rows, last.judged) == ("rare", 9, False)
    assert last.rest is None
    blocks = show_slices({"analyses": {"test": {"slices": {"tuned": found}}}})
    assert 'Too few to judge, under 10 rows: kind "rare" (9).' in [
        b.text for b in blocks if isinstance(b, Paragraph)
    ]


def test_a_slice_that_is_nearly_everything_has_nothing_to_be_set_against():
    frame = predictions(200)
    kind = ["rare"] * 5 + ["usual"] * 195
    found = result(tuned=frame, source=source_of(frame, kind=kind), slices=("kind",))
    assert [s.value for s in found.slices if s.by == "column"] == ["rare"]


def test_missing_values_are_a_slice_and_many_numbers_are_cut_in_quartiles():
    frame = predictions(200)
    source = source_of(
        frame,
        origin=[None if i % 4 else "web" for i in range(200)],
        age=[str(i) for i in range(200)],
        stars=[i % 5 for i in range(200)],
    )
    by = named(result(tuned=frame, source=source, slices=("origin", "age", "stars")))
    assert by['origin "(no value)"'].rows == 150
    assert by['age "0 to 49"'].rows == 50
    assert by['stars "4"'].rows == 40


def test_a_column_of_many_values_gives_its_commonest_and_says_so():
    frame = predictions(1000)
    who = [f"user {i % 60 if i < 900 else 'x'}" for i in range(1000)]
    found = result(tuned=frame, source=source_of(frame, who=who), slices=("who",))
    assert len([s for s in found.slices if s.by == "column"]) == MOST_VALUES
    assert found.notes == ["column 'who' has 61 values: the 50 commonest are slices"]


def test_generation_is_sliced_by_loss_with_token_accuracy_beside():
    hard = range(40)
    tuned, base = generated(hard=hard), generated(seed=1)
    source = source_of(tuned, topic=["law" if i < 40 else "news" for i in range(200)])
    found = result(tuned=tuned, base=base, source=source, slices=("topic",))
    assert found.metric == "loss"
    worst = found.slices[0]
    assert name_slice(worst) == 'topic "law"'
    inside = tuned.head(40)
    assert worst.loss.value == pytest.approx(inside["nll"].sum() / inside["tokens"].sum())
    assert worst.token_accuracy.value == pytest.approx(
        inside["correct"].sum() / inside["tokens"].sum()
    )
    assert worst.reference.value == pytest.approx(
        base.head(40)["nll"].sum() / base.head(40)["tokens"].sum()
    )
    assert worst.rest.p_corrected < 0.001
    assert {"scored tokens", "characters", "column"} == {s.by for s in found.slices}


def test_L6_rows_with_nothing_to_score_are_in_no_slice():
    tuned = generated().with_columns(
        [
            pl.when(pl.col("row_id") < 20).then(0).otherwise(pl.col(c)).alias(c)
            for c in ("nll", "tokens", "correct")
        ]
    )
    found = result(tuned=tuned, source=source_of(tuned))
    assert found.n == 180
    by = [s.rows for s in found.slices if s.by == "characters"]
    assert sum(by) == 180


def test_windows_of_a_document_are_sliced_by_tokens_only():
    tuned = generated()
    found = result(tuned=tuned, source=source_of(tuned.head(3)), slices=())
    assert {s.by for s in found.slices} == {"scored tokens"}
    assert found.notes == [
        "long documents were scored in windows: only their tokens can be sliced by"
    ]


def test_section_names_the_worst_and_shows_a_table():
    frame = predictions(400, skill=4)
    weak = weak_on(frame, range(0, 60, 2))
    origin = ["mail" if i < 60 else "web" for i in range(400)]
    found = result(
        tuned=weak, base=frame, source=source_of(weak, origin=origin), slices=("origin",)
    )
    blocks = show_slices({"analyses": {"test": {"slices": {"tuned": found}}}})
    assert blocks[0].text == "Slices of test (400 rows)"
    assert blocks[1].text.startswith('Worse than the rest beyond chance: origin "mail" (')
    [table] = [b for b in blocks if isinstance(b, Table)]
    assert table.rows[0][0] == 'origin "mail"'
    assert "base" in table.columns
    fine = result(tuned=frame, source=source_of(frame))
    blocks = show_slices({"analyses": {"test": {"slices": {"tuned": fine}}}})
    assert blocks[1].text.startswith("No slice is shown to be worse than the rest")
    assert show_slices({"analyses": {}}) == []


def sliced(folder, *names, **settings):
    data = DataConfig(**{"validation": None, **settings})
    return read_dataset(data, "classification", 42, folder, dict.fromkeys(names, "evaluate.slices"))


def test_columns_to_slice_by_are_carried_from_the_file(tmp_path):
    rows = [(*pair, f"{i % 3}", "") for i, pair in enumerate(TEN)]
    write_csv(tmp_path / "a.csv", rows, "text,label,line,empty")
    split = sliced(tmp_path, "line", "empty", train="a.csv", test="a.csv").splits["test"]
    assert split.frame["slice:line"].cast(pl.String).to_list() == [f"{i % 3}" for i in range(10)]
    assert split.frame["line"].to_list() == list(range(2, 12))  # the file's own is not in its way
    assert split.frame["slice:empty"].null_count() in (0, 10)


def test_a_column_that_is_not_there_is_told_with_its_neighbour(tmp_path):
    rows = [(*pair, "web") for pair in TEN]
    write_csv(tmp_path / "a.csv", rows, "text,label,origin")
    from ftev.core.errors import DataError

    with pytest.raises(DataError) as caught:
        sliced(tmp_path, "orgin", train="a.csv", test="a.csv")
    [fault] = caught.value.faults
    assert str(fault).startswith(
        "a.csv: has no column 'orgin' (evaluate.slices, or a guardrail). Did you mean \"origin\"?"
    )


def test_only_the_judged_file_must_have_the_column(tmp_path):
    write_csv(tmp_path / "train.csv", TEN)
    write_csv(tmp_path / "test.csv", [(*pair, "web") for pair in TEN], "text,label,origin")
    found = sliced(tmp_path, "origin", train="train.csv", test="test.csv")
    assert "slice:origin" not in found.splits["train"].frame.columns
    assert found.splits["test"].frame["slice:origin"].to_list() == ["web"] * 10
    assert faults(tmp_path, train="train.csv", text="nope")  # other faults still come first


def test_a_slice_that_is_shown_better_stands_behind_those_of_no_difference():
    """Mail is all right, and of three other origins two rows in three: only mail differs."""
    frame = predictions(400, skill=0.5)
    right = frame.with_columns(predicted="label")
    made = weak_on(right, range(100, 400, 3))
    origin = ["mail"] * 100 + ["web"] * 100 + ["app"] * 100 + ["post"] * 100
    found = result(tuned=made, source=source_of(made, origin=origin), slices=("origin",))
    by = {name_slice(s): s.rest for s in found.slices if s.by == "column"}
    assert by['origin "mail"'].difference > 0
    assert by['origin "mail"'].p_corrected < 0.001
    assert all(by[f'origin "{o}"'].difference < 0 for o in ("web", "app", "post"))
    assert list(by)[-1] == 'origin "mail"'
    assert any(by[f'origin "{o}"'].p_corrected > 0.05 for o in ("web", "app", "post"))
