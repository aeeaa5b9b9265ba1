"""The HTTP face of the endpoint: strict in what it reads, bounded in what it takes, plain in what it answers."""
