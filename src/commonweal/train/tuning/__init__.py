"""Fine-tuning as a job of the pool: from a base model and a file of examples to a specification, and from its
weights to a model's files.

    check_tuning     read the files, count tokens, choose hyperparameters, estimate; no torch
    prepare_tuning   the same, and the job: its specification and its blobs
    export_tuning    the files of the model that it came to, by name
"""

from commonweal.train.tuning.bases import Base as Base
from commonweal.train.tuning.checking import CheckedTuning as CheckedTuning
from commonweal.train.tuning.checking import check_tuning as check_tuning
from commonweal.train.tuning.hyperparameters import TuningOptions as TuningOptions
from commonweal.train.tuning.preparing import prepare_tuning as prepare_tuning
from commonweal.train.tuning.results import export_tuning as export_tuning
