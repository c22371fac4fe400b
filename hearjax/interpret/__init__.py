"""What the networks of a run have learnt."""
