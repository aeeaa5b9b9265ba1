"""Field replay: the run history replayed on the calendar, as the plant would have lived with the product."""
