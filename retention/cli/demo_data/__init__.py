"""Sample data of `retention demo`: invented people at example domains, dated from a moment."""
