"""Models in use: an OpenAI-compatible API, the way to the machines that answer, fine-tuning, tools, feedback."""
