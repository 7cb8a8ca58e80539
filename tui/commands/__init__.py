"""What each command of `ftev-tui` does: one file a purpose, imported when it is called."""
