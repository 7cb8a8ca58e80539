"""Many runs over a grid or a random search, and the one that validation chooses."""
