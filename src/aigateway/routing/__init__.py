"""Which target is asked, how often, and when it is left alone: parts without I/O, with the clock passed in."""
