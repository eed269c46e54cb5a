"""What the files say: model, loading, checks, periods, statutes, plain words."""
