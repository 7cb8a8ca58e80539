"""The metrics of predicted numbers, each a mean over the targets where there are several."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..metric import BY_ROW, Counted, FewRows, Metric
from ..sums import Ratio, Totals

if TYPE_CHECKING:
    from ..metric import Rows
    from ..sums import FloatArray

_BY_TARGET = "each row counts once, and each target the same"


@Metric(
    of=("numbers",),
    title="mean absolute error",
    label="MAE",
    heading="mean absolute error",
    unit="data units",
    direction="lower",
    formula="mean over rows of |prediction - truth|",
    counted=Counted("sum of absolute errors", "rows", BY_ROW),
    few_rows=FewRows(of_logarithm=True),
    adds=lambda rows: abs(rows.errors),
    sign_flip=True,
    leading=True,
    chart=2,
    see=("rmse", "r2", "spearman"),
    aliases=("mean absolute error", "l1"),
)
def mae(t: Totals) -> Ratio:
    """By how much a prediction is off on average, in the unit of the data.

    The figure to explain to whoever uses the model: "off by 0.4 stars". The best constant answer is
    the middle of the training targets, whose error stands beside it as the mean's; how much lower
    the model's is says what it has learnt.

    Trap: One large error weighs no more than many small ones of the same sum. Where large errors
    are what hurts, read the root mean squared error.
    """
    return Ratio(t["mae"].mean(-1), t["rows"])


@Metric(
    of=("numbers",),
    title="root mean squared error",
    label="RMSE",
    heading="root mean squared error",
    unit="data units",
    direction="lower",
    formula="√(mean over rows of (prediction - truth)²)",
    counted=Counted("sum of squared errors", "rows", _BY_TARGET),
    few_rows=FewRows(of_logarithm=True),
    adds=lambda rows: rows.errors**2,
    chart=12,
    see=("mae", "r2"),
    aliases=("root mean squared error", "l2"),
)
def rmse(t: Totals) -> FloatArray:
    """The typical size of an error where large ones weigh more, in the unit of the data.

    Squared errors are averaged and the root taken, so it is at least the mean absolute error. Far
    above that, a few rows are badly off: look at them first.

    Trap: One outlier of the test set can carry it. The interval shows that by its width.
    """
    found: FloatArray = ((t["rmse"] / t["rows"][..., None]).clip(0) ** 0.5).mean(-1)
    return found


@Metric(
    of=("numbers",),
    title="coefficient of determination",
    label="R²",
    heading="coefficient of determination",
    unit="coefficient",
    formula="1 - sum of squared errors ÷ sum of squared distances of the truth from its mean",
    counted=Counted("", "", _BY_TARGET),
    limits=(-math.inf, 1),
    adds=lambda rows: rows.side_by_side(rows.errors**2, rows.centred, rows.centred**2),
    leading=True,
    chart=11,
    see=("mae", "rmse", "spearman"),
    aliases=("r squared", "r²", "explained variance"),
)
def r2(t: Totals) -> FloatArray:
    """Which share of the variance of the truth the predictions explain.

    1 is exact, 0 is what always answering the mean of these rows gives, and below 0 a model is
    worse than that constant. It has no unit, so targets of different scales can be compared.

    Trap: It depends on how spread the test targets are: the same errors give a high value on a wide
    range and a low one on a narrow range. Compare it on the same rows alone.
    """
    errors, centred, squares = _parts_of(t["r2"], 3)
    spread = squares - centred**2 / t["rows"][..., None]
    return _mean_where(spread > 0, 1 - _divided(errors, spread))


@Metric(
    of=("numbers",),
    title="Spearman rank correlation",
    label="Spearman",
    heading="Spearman rank correlation",
    unit="coefficient",
    formula="correlation of the ranks of predictions and truth",
    counted=Counted("", "", _BY_TARGET),
    adds=lambda rows: rows.side_by_side(*rows.rank_products),
    chart=14,
    see=("r2", "mae"),
    aliases=("rho", "rank correlation"),
)
def spearman(t: Totals) -> FloatArray:
    """How far the predictions put the rows in the right order, from -1 to 1.

    1 is the right order throughout, 0 no relation. It asks nothing of scale: a model that is off
    everywhere by 10 ranks as well as an exact one. The figure where rows are to be sorted.

    Trap: A high value with a large error means a model whose numbers cannot be used as they are.
    Its intervals take the ranks of all rows as given.
    """
    truth, predicted, both, truth2, predicted2 = _parts_of(t["spearman"], 5)
    n = t["rows"][..., None]
    covariance = both - truth * predicted / n
    variances = (truth2 - truth**2 / n) * (predicted2 - predicted**2 / n)
    return _mean_where(variances > 0, _divided(covariance, variances.clip(0) ** 0.5)).clip(-1, 1)


def _parts_of(totals: FloatArray, parts: int) -> list[FloatArray]:
    """Columns that stand side by side, [..., parts × targets], as parts of [..., targets]."""
    width = totals.shape[-1] // parts
    return [totals[..., i * width : (i + 1) * width] for i in range(parts)]


def _divided(above: FloatArray, below: FloatArray) -> FloatArray:
    return above / (below + (below <= 0))


def _mean_where(defined: Rows, values: FloatArray) -> FloatArray:
    """The mean over targets; NaN where one of them has none."""
    import numpy as np  # not before there are numbers: screens read these definitions without it

    return np.where(defined.all(-1), values.mean(-1), math.nan)
