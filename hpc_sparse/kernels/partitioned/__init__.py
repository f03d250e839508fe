"""What a rank does that holds some of the neurons of each layer."""
