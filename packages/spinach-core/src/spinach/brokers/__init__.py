"""The contract between the engine and a broker; implementations live elsewhere."""
