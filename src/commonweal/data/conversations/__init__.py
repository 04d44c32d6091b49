"""Files of conversations to learn from: their formats, everything that can be wrong with one, and what a
model is trained on of it."""
