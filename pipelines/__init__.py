"""Where data enters, is kept and flows: sources, storage, Dagster assets, the command line."""
