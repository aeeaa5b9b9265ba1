"""One file a step, in order of `down_revision`."""
