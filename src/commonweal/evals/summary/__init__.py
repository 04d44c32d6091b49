"""From many runs to a board: win rates, ties, comparisons, releases. Reads run folders, asks nothing."""
