"""Who answers: a server that speaks the OpenAI API, a model in this process, a mock."""
