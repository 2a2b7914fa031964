"""Training losses. Reconstruction losses take pictures in [0,1]; networks they need are passed
in."""
