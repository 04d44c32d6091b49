"""The fixtures of the training tests; see train_world."""

from train_world import _one_thread as _one_thread
from train_world import pools as pools
from train_world import text_folder as text_folder
from train_world import world as world
