"""What must hold, evaluated over verified results only."""
