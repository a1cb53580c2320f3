"""The figures of docs/performance.md. Each prints ratios of things run side by side; none is a timed test."""
