"""What a model's answers take in joules, where the machine has a meter that may be read."""
