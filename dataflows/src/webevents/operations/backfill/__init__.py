"""Making daily indices anew from the raw events, beside the old ones, and swapping them."""
