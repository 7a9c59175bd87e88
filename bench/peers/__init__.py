"""The side-by-side comparison of bench/run; bench/README.md says what is measured."""
