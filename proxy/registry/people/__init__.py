"""Who is calling, how they came to be known, and what they may do."""
