"""What the benches share: turns, repositories, processes, clocks and result files."""
