"""From one batch's row of numbers to all that a model says of it."""
