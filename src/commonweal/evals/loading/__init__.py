"""Loading: rows of local files and of Hugging Face data sets, for scenarios. See :mod:`.loader`."""

from commonweal.evals.loading.fields import field, where
from commonweal.evals.loading.loader import DataLoader, Source, examples

__all__ = ["DataLoader", "Source", "examples", "field", "where"]
