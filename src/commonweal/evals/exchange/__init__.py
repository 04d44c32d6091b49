"""Other people's formats: HELM's output, lm-evaluation-harness tasks, Every Eval Ever."""
