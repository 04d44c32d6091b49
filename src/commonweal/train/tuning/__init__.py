"""Fine-tuning as a job of the pool: from a base model and a file of examples to a specification, and from its weights
to a model's files.

    check_tuning              read the files, count tokens, choose hyperparameters, estimate; needs no torch
    preparing.prepare_tuning  the same, and the job: its specification and its blobs
    results.export_tuning     the files of the model that it came to, by name

The latter two need torch and are imported from their modules.
"""

from commonweal.train.tuning.bases import Base as Base
from commonweal.train.tuning.checking import CheckedTuning as CheckedTuning
from commonweal.train.tuning.checking import check_tuning as check_tuning
from commonweal.train.tuning.hyperparameters import TuningOptions as TuningOptions
