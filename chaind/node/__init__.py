"""The shell: owns the clock, the tasks and the order of things."""
