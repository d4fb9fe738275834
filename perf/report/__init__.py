"""Tables and pictures, made from the result files alone."""
