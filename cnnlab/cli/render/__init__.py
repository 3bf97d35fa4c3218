"""What the terminal shows. rich lives here only."""
