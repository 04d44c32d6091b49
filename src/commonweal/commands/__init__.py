"""What each command does, once its flags are read. Imported when its command is called."""
