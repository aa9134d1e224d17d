"""What was asked for: the manifest's schema, its loader, the plan that follows and what it will cost."""
