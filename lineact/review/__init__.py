"""A person's review: what is shown of the queue, the journal of answers, and decisions.csv written from it."""
