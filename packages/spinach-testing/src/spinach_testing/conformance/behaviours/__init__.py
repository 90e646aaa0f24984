"""The behaviours of a broker, one module each; `spinach_testing.conformance.suite` joins them."""
