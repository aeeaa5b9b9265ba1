"""What the endpoint does for a request, the same for every way in. Every answer was committed before it is given."""
