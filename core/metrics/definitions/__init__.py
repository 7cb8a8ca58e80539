"""What each metric is: a decorated function a metric, in the order in which tables show them."""

from . import label_sets, labels, numbers, probabilities, texts  # noqa: F401
