"""Training losses: reconstruction losses take pictures in [0,1]; networks are passed in."""
