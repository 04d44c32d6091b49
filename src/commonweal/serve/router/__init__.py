"""Which worker answers an ask, which ask a free worker gets, and where a model is loaded."""
