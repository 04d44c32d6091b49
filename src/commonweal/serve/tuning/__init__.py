"""Fine-tuning jobs: what was asked for, how far it is, and the loop that takes it from a file to a served model."""
