"""The command `pcim view`: a plate and its maps in the browser."""
