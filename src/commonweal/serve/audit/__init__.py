"""Whether a worker answered with the model that it claims: answers scored anew, and what follows from it."""
