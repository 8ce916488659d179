"""Write data sets in the formats of other tools: one module a format."""
