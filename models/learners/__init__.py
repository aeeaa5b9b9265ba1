"""What is fitted on training rows, each with plain JSON or text to keep it in."""
