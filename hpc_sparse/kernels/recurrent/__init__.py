"""The cells of recurrent layers: what happens to the sums of a step."""
