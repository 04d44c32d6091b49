"""What people say of answers becomes a model's next version: conversations, feedback, data sets, the gate."""
