"""What is right: one module per entity, the rules they share, and the reference data. Knows no file, no database, no clock."""
